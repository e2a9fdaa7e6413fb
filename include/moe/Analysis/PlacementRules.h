// What a layer demands of a layout, and the numbers that a refusal names.
#ifndef MOE_ANALYSIS_PLACEMENTRULES_H
#define MOE_ANALYSIS_PLACEMENTRULES_H

#include "dialects/Coll/CollDialect.h"
#include "dialects/Moe/MoeDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace moe {

/// The degrees of a layout, from words or from a placement on a grid.
struct Layout {
  int64_t ranks = 1, ep = 1, etp = 1;
  SharedLayout shared = SharedLayout::Replicated;
};

/// Sizes of a layer of experts, all static: E experts, k per token, width I,
/// hidden size H.
struct ExpertSizes {
  int64_t experts, topK, width, hidden;
};
ExpertSizes expertSizes(ExpertsOp op);

/// Width of the shared expert.
int64_t sharedWidth(SharedExpertOp op);

/// Checks that every rank gets an expert, that etp divides the expert's width,
/// and that no quantisation block is cut.
mlir::LogicalResult checkExperts(ExpertsOp op, const Layout &layout);

/// Checks that a split shared expert's width is divided by the ranks.
mlir::LogicalResult checkSharedExpert(SharedExpertOp op, const Layout &layout);

/// Checks the placement of `op` (moe.experts or moe.shared_expert): it is
/// there, its grid exists, its axes are the grid's, each once and ascending,
/// and its degrees suit the layer.
mlir::LogicalResult checkPlacement(mlir::Operation *op);

/// Checks every layer of `function`, that there is one, and that all agree on
/// grid and boundary.
mlir::LogicalResult checkPlacedFunction(mlir::func::FuncOp function);

/// On how many of `members` the experts of one token can be, each member
/// holding equally many consecutive `slots`: a router with groups keeps few of
/// them. What lies outside of the kept groups may still be chosen where
/// `masked_fill = zero` and all kept values are negative.
int64_t mostMembersPerToken(ExpertsOp op, mlir::DenseI32ArrayAttr slots,
                            int64_t members);

/// The placement of a layer op; null when it has none or is another op.
PlacementAttr placementOf(mlir::Operation *op);

} // namespace moe
#endif
