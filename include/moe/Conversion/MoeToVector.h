// Lowering of moe ops in buffer form to vectors and loops, one populate
// function an op (or family of small ops).
#ifndef MOE_CONVERSION_MOETOVECTOR_H
#define MOE_CONVERSION_MOETOVECTOR_H

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

} // namespace moe
#endif
