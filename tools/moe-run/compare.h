// Whether an output is what was expected.
#ifndef MOE_RUN_COMPARE_H
#define MOE_RUN_COMPARE_H

#include "tensors.h"

namespace moert {

struct Comparison {
  bool holds = false;
  std::string text; // for people: how near, or the first difference
};

// Holds if max |got - expected| <= rtol * max |expected| over the finite
// expected values; infinities must be equal, NaN passes only with `equalNan`
// and at the same place.
Comparison compareTensors(const OwnedTensor &got, const FileTensor &expected,
                          double rtol, bool equalNan);

} // namespace moert

#endif
