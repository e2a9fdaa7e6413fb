#include "dialects/Forms/GridSize.h"
#include "llvm/ADT/StringExtras.h"
#include <algorithm>
#include <cstdint>

using namespace mlir;

static std::string printShape(ArrayRef<int64_t> shape) {
  std::string text;
  llvm::raw_string_ostream os(text);
  llvm::interleave(
      shape, os,
      [&](int64_t size) {
        ShapedType::isDynamic(size) ? os << "?" : os << size;
      },
      "x");
  return text;
}

LogicalResult moe::verifyGridSize(Operation *op, shard::GridOp grid) {
  // Each axis keeps what those before it leave room for.
  SmallVector<int64_t> legal(grid.getShape());
  int64_t ranks = 1;
  for (int64_t &size : legal)
    if (!ShapedType::isDynamic(size)) {
      size = std::clamp<int64_t>(size, 1, INT32_MAX / ranks);
      ranks *= size;
    }
  if (ArrayRef(legal) == grid.getShape())
    return success();
  return op->emitOpError() << "names the grid `" << grid.getSymName() << "` of "
                           << printShape(grid.getShape())
                           << " ranks, expected 1 to " << INT32_MAX
                           << "; nearest legal choice: " << printShape(legal);
}
