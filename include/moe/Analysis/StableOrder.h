// A stable sort without std::stable_sort, whose temporary buffer the library
// calls deprecated.
#ifndef MOE_ANALYSIS_STABLEORDER_H
#define MOE_ANALYSIS_STABLEORDER_H

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"

namespace moe {

/// Sorts `range`; elements of which neither is less keep their order.
template <typename Range, typename Less>
void sortStably(Range &range, Less less) {
  llvm::SmallVector<size_t> order =
      llvm::to_vector(llvm::seq<size_t>(0, range.size()));
  llvm::sort(order, [&](size_t a, size_t b) {
    if (less(range[a], range[b]))
      return true;
    return !less(range[b], range[a]) && a < b;
  });
  Range sorted;
  sorted.reserve(range.size());
  for (size_t index : order)
    sorted.push_back(std::move(range[index]));
  range = std::move(sorted);
}

} // namespace moe
#endif
