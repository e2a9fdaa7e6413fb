// Grids whose ranks can be counted.
#ifndef MOE_DIALECTS_FORMS_GRIDSIZE_H
#define MOE_DIALECTS_FORMS_GRIDSIZE_H

#include "mlir/Dialect/Shard/IR/ShardOps.h"
#include "llvm/Support/MathExtras.h"
#include <cstdint>

namespace moe {

/// Refuses a grid of more ranks than a runtime numbers; unknown sizes count as
/// one.
inline mlir::LogicalResult verifyGridSize(mlir::Operation *op,
                                          mlir::shard::GridOp grid) {
  int64_t ranks = 1;
  for (int64_t size : grid.getShape())
    if (!mlir::ShapedType::isDynamic(size) &&
        (llvm::MulOverflow(ranks, size, ranks) || ranks > INT32_MAX))
      return op->emitOpError()
             << "names the grid `" << grid.getSymName()
             << "` of more than 2147483647 ranks, expected at most as many";
  return mlir::success();
}

} // namespace moe

#endif
