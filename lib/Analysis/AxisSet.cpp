#include "moe/Analysis/AxisSet.h"
#include "dialects/Coll/CollDialect.h"

using namespace mlir;
using namespace moe;

bool AxisSet::contains(unsigned id) const {
  return llvm::binary_search(ids, id);
}

void AxisSet::insert(unsigned id) {
  auto *it = llvm::lower_bound(ids, id);
  if (it == ids.end() || *it != id)
    ids.insert(it, id);
}

AxisSet &AxisSet::operator|=(const AxisSet &other) {
  for (unsigned id : other.ids)
    insert(id);
  return *this;
}

AxisSet AxisSet::operator|(const AxisSet &other) const {
  AxisSet result = *this;
  return result |= other;
}

AxisSet AxisSet::operator&(const AxisSet &other) const {
  AxisSet result;
  for (unsigned id : ids)
    if (other.contains(id))
      result.ids.push_back(id);
  return result;
}

AxisSet AxisSet::operator-(const AxisSet &other) const {
  AxisSet result;
  for (unsigned id : ids)
    if (!other.contains(id))
      result.ids.push_back(id);
  return result;
}

AxisTable::AxisTable(Operation *top) {
  top->walk([&](shard::GridOp grid) {
    order.push_back(grid);
    firstOf[grid] = entries.size();
    for (int64_t axis = 0; axis < grid.getRank(); ++axis)
      entries.push_back({grid, axis});
  });
}

AxisSet AxisTable::axes(shard::GridOp grid, ArrayRef<int64_t> axes) const {
  AxisSet result;
  auto first = firstOf.find(grid);
  if (first == firstOf.end())
    return result;
  for (int64_t axis : axes)
    if (grid.getShape()[axis] != 1)
      result.insert(first->second + axis);
  return result;
}

AxisSet AxisTable::all(shard::GridOp grid) const {
  return axes(grid, llvm::to_vector(llvm::seq<int64_t>(0, grid.getRank())));
}

AxisSet AxisTable::all() const {
  AxisSet result;
  for (shard::GridOp grid : order)
    result |= all(grid);
  return result;
}

std::string AxisTable::names(const AxisSet &set) const {
  if (set.empty())
    return "no axis";
  std::string text;
  for (unsigned id : set.members()) {
    shard::GridOp grid = entries[id].grid;
    text += text.empty() ? "`" : ", `";
    text += coll::axisName(grid, entries[id].axis);
    text += "`";
    if (order.size() > 1)
      text += (" of `" + grid.getSymName() + "`").str();
  }
  return text;
}
