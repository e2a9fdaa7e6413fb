// Pinning one layout on layers: of the pass that does it, and of the plan that
// tries many.
#ifndef MOE_TRANSFORMS_PLACEMENTPIN_H
#define MOE_TRANSFORMS_PLACEMENTPIN_H

#include "mlir/IR/BuiltinOps.h"
#include "moe/Analysis/PlacementWords.h"

namespace moe {

/// Declares the grid and sets the placement of every layer of `module`. Fails,
/// with a message, where words cut across each other (see MeshLayout).
mlir::LogicalResult pinPlacement(mlir::ModuleOp module,
                                 llvm::ArrayRef<mlir::Operation *> layers,
                                 const PlacementWords &words);

/// The layers of a module that can be pinned: some, none of them placed.
mlir::FailureOr<llvm::SmallVector<mlir::Operation *>>
layersToPlace(mlir::ModuleOp module);

} // namespace moe
#endif
