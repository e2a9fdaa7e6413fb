#include "dialects/Coll/CollDialect.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moe::coll;

#include "dialects/Coll/CollDialect.cpp.inc"
#include "dialects/Coll/CollInterfaces.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/Coll/CollTypes.cpp.inc"

void CollDialect::initialize() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/Coll/CollTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/Coll/CollOps.cpp.inc"
      >();
}

shard::GridOp moe::coll::lookupGrid(Operation *op, FlatSymbolRefAttr grid) {
  return SymbolTable::lookupNearestSymbolFrom<shard::GridOp>(op, grid);
}

int64_t moe::coll::groupSize(shard::GridOp grid, ArrayRef<int64_t> axes) {
  int64_t size = 1;
  for (int64_t axis : axes)
    size *= grid.getShape()[axis];
  return size;
}

std::string moe::coll::axisName(shard::GridOp grid, int64_t axis) {
  if (auto names = grid->getAttrOfType<ArrayAttr>("coll.axes"))
    if (axis < static_cast<int64_t>(names.size()))
      if (auto name = dyn_cast<StringAttr>(names[axis]))
        return name.str();
  return std::to_string(axis);
}

bool moe::coll::sameGroup(shard::GridOp grid, ArrayRef<int64_t> axes,
                          shard::GridOp otherGrid,
                          ArrayRef<int64_t> otherAxes) {
  auto longAxes = [](shard::GridOp grid, ArrayRef<int64_t> axes) {
    return llvm::to_vector(llvm::make_filter_range(
        axes, [&](int64_t axis) { return grid.getShape()[axis] != 1; }));
  };
  return grid == otherGrid && longAxes(grid, axes) == longAxes(grid, otherAxes);
}
