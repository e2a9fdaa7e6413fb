// Rows of floats, moved and combined by vectors of f32.
#ifndef MOE_LIB_CONVERSION_MOETOVECTOR_ROWVECTORS_H
#define MOE_LIB_CONVERSION_MOETOVECTOR_ROWVECTORS_H

#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace moe {

/// Builds loops over the columns [0, width): by vectors of 4 * `lanes`, then of
/// `lanes`, then of one element. `body` gets the first column and the number of
/// elements.
void forColumns(
    mlir::ImplicitLocOpBuilder &b, int64_t width, int64_t lanes,
    llvm::function_ref<void(mlir::Value column, int64_t elements)> body);

/// `elements` consecutive elements of a row, as they are stored.
mlir::Value loadRow(mlir::ImplicitLocOpBuilder &b, mlir::Value buffer,
                    mlir::Value row, mlir::Value column, int64_t elements);

/// The same, widened to f32.
mlir::Value loadRowF32(mlir::ImplicitLocOpBuilder &b, mlir::Value buffer,
                       mlir::Value row, mlir::Value column, int64_t elements);

/// Rounds f32 to the buffer's element type and stores it.
void storeRowF32(mlir::ImplicitLocOpBuilder &b, mlir::Value value,
                 mlir::Value buffer, mlir::Value row, mlir::Value column);

/// A vector of `elements` f32 that are all `scalar`.
mlir::Value broadcastF32(mlir::ImplicitLocOpBuilder &b, mlir::Value scalar,
                         int64_t elements);

} // namespace moe
#endif
