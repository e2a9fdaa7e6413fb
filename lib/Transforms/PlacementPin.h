// Pinning one layout on layers; used by PlaceExperts.cpp and PlanPlacement.cpp.
#ifndef MOE_TRANSFORMS_PLACEMENTPIN_H
#define MOE_TRANSFORMS_PLACEMENTPIN_H

#include "moe/Analysis/PlacementSearch.h"

namespace moe {

/// Declares the grid and sets the placement of every layer of `module`. Fails,
/// with a message, where words cut across each other (see MeshLayout).
mlir::LogicalResult pinPlacement(mlir::ModuleOp module,
                                 llvm::ArrayRef<mlir::Operation *> layers,
                                 const PlacementWords &words);

/// What `--place` with a machine comes to: plans, written to `reportPath` if
/// that is not empty, and the best layout.
struct PlanOptions {
  llvm::StringRef place, reportPath, modelPath;
  bool listCandidates = false;
};
mlir::FailureOr<PlacementWords> planPlacement(mlir::ModuleOp module,
                                              const PlanOptions &options);

} // namespace moe
#endif
