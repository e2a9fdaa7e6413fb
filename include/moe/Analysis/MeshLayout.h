// The grid of a layout: which axes it has, and what each is for.
#ifndef MOE_ANALYSIS_MESHLAYOUT_H
#define MOE_ANALYSIS_MESHLAYOUT_H

#include "moe/Analysis/PlacementWords.h"

namespace moe {

/// Name of the axis that ends a node: ranks that agree on all axes up to this
/// one are on one node. Where a grid has none, all ranks are on one.
constexpr llvm::StringLiteral kNodeAxis = "node";

/// Axes, first axis slowest, so that neighbours in rank are on one node.
/// Experts and attention lay their own meshes over the same ranks; the grid is
/// the coarsest of which both have whole axes.
struct MeshLayout {
  llvm::SmallVector<int64_t> shape;
  llvm::SmallVector<std::string> names;
  /// Axes by role, ascending.
  llvm::SmallVector<int64_t> edp, ep, etp;
  /// Axes of one attention-TP group at a replicated boundary; empty where no
  /// word says how attention lies.
  llvm::SmallVector<int64_t> attnTp;

  /// `edp x ep x etp`, each cut where a node or an attention-TP group ends. A
  /// cut that no axis can take is reported through `emitError`.
  static mlir::FailureOr<MeshLayout>
  of(const PlacementWords &words,
     llvm::function_ref<mlir::InFlightDiagnostic()> emitError);
};

} // namespace moe
#endif
