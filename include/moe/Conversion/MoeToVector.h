// Lowering of moe ops in buffer form to vectors and loops, one populate
// function an op (or family of small ops).
#ifndef MOE_CONVERSION_MOETOVECTOR_H
#define MOE_CONVERSION_MOETOVECTOR_H

#include "dialects/Moe/MoeDialect.h"
#include "mlir/IR/PatternMatch.h"
#include "moe/Conversion/CpuTile.h"

namespace moe {

// Each pattern replaces its op by work that the team shares, and a
// moert.team_barrier.
void populateGroupedMatmulToVector(mlir::RewritePatternSet &patterns,
                                   const CpuTile &tile);
void populateRouterLogitsToVector(mlir::RewritePatternSet &patterns,
                                  const CpuTile &tile);
void populateTokenGateToVector(mlir::RewritePatternSet &patterns,
                               const CpuTile &tile);
void populateSelectExpertsToVector(mlir::RewritePatternSet &patterns,
                                   const CpuTile &tile);
void populateSortToVector(mlir::RewritePatternSet &patterns);
void populateCountsToVector(mlir::RewritePatternSet &patterns);
void populateTakeToVector(mlir::RewritePatternSet &patterns,
                          const CpuTile &tile);
void populateRegroupToVector(mlir::RewritePatternSet &patterns);
void populateCombineToVector(mlir::RewritePatternSet &patterns,
                             const CpuTile &tile);

/// What `router` asks for that the cpu target does not compute, as the rest of
/// a diagnostic; empty when it computes all.
std::string unsupportedRouter(RouterAttr router);

} // namespace moe
#endif
