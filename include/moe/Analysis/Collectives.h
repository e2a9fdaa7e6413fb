// How the values that a collective needs hang together: who computed them from
// what, and where they start to differ between ranks.
#ifndef MOE_ANALYSIS_COLLECTIVES_H
#define MOE_ANALYSIS_COLLECTIVES_H

#include "dialects/Coll/CollDialect.h"
#include "moe/Analysis/VaryingAxes.h"

namespace moe {

/// `value` before casts and reshapes. These keep the row-major order of
/// elements, so that block i of n equal blocks is the same in both.
mlir::Value withoutReshapes(mlir::Value value);

/// Whether the host reads the contents of this operand: counts that say how
/// many rows come and go.
bool isReadByHost(mlir::OpOperand &use);

/// Where a value starts to vary.
struct Origin {
  mlir::Value value;
  /// The way from the value back to its origin leads through the contents of a
  /// tensor (data) and not only through shapes and indices.
  bool throughData = false;
};

/// Follows `value` (its contents, or its dimension `dim` when that is not
/// negative) back along operands that vary over some of `over`.
Origin originOf(mlir::Value value, int64_t dim, const AxisSet &over,
                const VaryingAxes &varying);

/// Attaches a note that names the origin and the axes over which it differs.
void noteOrigin(mlir::InFlightDiagnostic &diagnostic, const Origin &origin,
                const AxisSet &over, const VaryingAxes &varying);

} // namespace moe
#endif
