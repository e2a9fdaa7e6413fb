// How the threads of a rank's team share work. All functions build at top
// level of code that every thread of the team runs.
#ifndef MOE_CONVERSION_TEAMLOOPS_H
#define MOE_CONVERSION_TEAMLOOPS_H

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace moe::team {

/// This thread's consecutive part [begin, end) of `count` (index) items; parts
/// differ by at most one item.
std::pair<mlir::Value, mlir::Value> slice(mlir::ImplicitLocOpBuilder &b,
                                          mlir::Value count);

/// Builds `body` for thread 0 only. No barrier follows.
void onFirstThread(mlir::ImplicitLocOpBuilder &b,
                   llvm::function_ref<void(mlir::ImplicitLocOpBuilder &)> body);

/// for (i = begin; i < end; i += step) body(i)
void forLoop(
    mlir::ImplicitLocOpBuilder &b, mlir::Value begin, mlir::Value end,
    int64_t step,
    llvm::function_ref<void(mlir::ImplicitLocOpBuilder &, mlir::Value)> body);

/// The same with values carried from one iteration to the next; returns the
/// last ones. `body` returns as many values as `inits` has.
llvm::SmallVector<mlir::Value>
forLoop(mlir::ImplicitLocOpBuilder &b, mlir::Value begin, mlir::Value end,
        int64_t step, mlir::ValueRange inits,
        llvm::function_ref<llvm::SmallVector<mlir::Value>(
            mlir::ImplicitLocOpBuilder &, mlir::Value, mlir::ValueRange)>
            body);

/// Room of this thread alone: a buffer of static shape on the stack, allocated
/// once where the function around the builder begins.
mlir::Value scratch(mlir::ImplicitLocOpBuilder &b, mlir::MemRefType type);

/// A constant of type index.
mlir::Value constant(mlir::ImplicitLocOpBuilder &b, int64_t value);

} // namespace moe::team
#endif
