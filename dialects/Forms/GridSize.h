// Grids whose ranks can be counted.
#ifndef MOE_DIALECTS_FORMS_GRIDSIZE_H
#define MOE_DIALECTS_FORMS_GRIDSIZE_H

#include "mlir/Dialect/Shard/IR/ShardOps.h"

namespace moe {

/// Refuses a grid of no ranks, and of more than a runtime numbers; unknown
/// sizes count as one.
llvm::LogicalResult verifyGridSize(mlir::Operation *op,
                                   mlir::shard::GridOp grid);

} // namespace moe

#endif
