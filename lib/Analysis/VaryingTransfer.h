// What one operation does to varying axes; used by the analysis alone.
#ifndef MOE_LIB_ANALYSIS_VARYINGTRANSFER_H
#define MOE_LIB_ANALYSIS_VARYINGTRANSFER_H

#include "moe/Analysis/VaryingAxes.h"

namespace moe {

/// What the transfer of one operation may ask.
struct TransferContext {
  const AxisTable &table;
  /// The state of a value that the operation uses, in its operands or in its
  /// regions.
  llvm::function_ref<const Variation &(mlir::Value)> of;
  /// Everything over which a value at this operation can vary.
  AxisSet everything;
};

/// The states of the results of `op`, from those of the values it uses. `op`
/// has no region control flow of its own.
llvm::SmallVector<Variation> transfer(mlir::Operation *op,
                                      const TransferContext &context);

/// Makes `variation` fit `type`: static dimensions do not vary, and contents
/// vary at least as their dimensions do.
Variation fitted(Variation variation, mlir::Type type);

/// A value of `type` that varies over `axes` in every respect.
Variation varyingOver(const AxisSet &axes, mlir::Type type);

} // namespace moe
#endif
