// What every lowering here needs from the function around it: the team of
// threads, and room on the stack.
#ifndef MOE_LIB_CONVERSION_MOETOVECTOR_TEAM_H
#define MOE_LIB_CONVERSION_MOETOVECTOR_TEAM_H

#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/PatternMatch.h"

namespace moe {

/// Index constant.
mlir::Value indexConstant(mlir::ImplicitLocOpBuilder &b, int64_t value);

/// Unsigned index arithmetic.
mlir::Value indexAdd(mlir::ImplicitLocOpBuilder &b, mlir::Value x,
                     mlir::Value y);
mlir::Value indexMul(mlir::ImplicitLocOpBuilder &b, mlir::Value x,
                     int64_t factor);

/// A loop over [from, to) by `step`, `body` inside it with the induction
/// variable.
void forEach(mlir::ImplicitLocOpBuilder &b, mlir::Value from, mlir::Value to,
             int64_t step, llvm::function_ref<void(mlir::Value)> body);

/// A loop over [0, count) whose indices the team's threads take in turn.
void forEachOfTeam(mlir::ImplicitLocOpBuilder &b, mlir::Value count,
                   llvm::function_ref<void(mlir::Value)> body);

/// Ends an op that wrote a buffer: the team meets.
void meet(mlir::ImplicitLocOpBuilder &b);

/// `count` elements of `element` on the stack of the function around the
/// builder, aligned to `alignment` bytes; allocated once, at its entry.
mlir::Value stackOf(mlir::ImplicitLocOpBuilder &b, mlir::Type element,
                    int64_t count, unsigned alignment);

/// Address of a buffer's first element, as an LLVM pointer. The buffer's layout
/// is the identity.
mlir::Value pointerTo(mlir::ImplicitLocOpBuilder &b, mlir::Value buffer);

/// An i32 element of a buffer, as an index.
mlir::Value loadIndex(mlir::ImplicitLocOpBuilder &b, mlir::Value buffer,
                      mlir::Value position);

/// A buffer of one dimension with all elements of `buffer`, whose layout is the
/// identity.
mlir::Value flatten(mlir::ImplicitLocOpBuilder &b, mlir::Value buffer);

/// True when all operands that are buffers have the identity layout.
bool hasIdentityLayouts(mlir::Operation *op);

} // namespace moe
#endif
