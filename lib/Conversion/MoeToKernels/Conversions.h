// Each op of the moe dialect as launches; messages stand at the op. The caller
// erases it.
#ifndef MOE_LIB_CONVERSION_MOETOKERNELS_CONVERSIONS_H
#define MOE_LIB_CONVERSION_MOETOKERNELS_CONVERSIONS_H

#include "DeviceFunction.h"
#include "dialects/Moe/MoeDialect.h"

namespace moe {

using KernelOpBuilder = mlir::ImplicitLocOpBuilder;

mlir::LogicalResult convertToKernels(GroupedMatmulOp op, KernelOpBuilder &b,
                                     DeviceFunction &function);
mlir::LogicalResult convertToKernels(RouterLogitsOp op, KernelOpBuilder &b,
                                     DeviceFunction &function);
mlir::LogicalResult convertToKernels(TokenGateOp op, KernelOpBuilder &b,
                                     DeviceFunction &function);
mlir::LogicalResult convertToKernels(SelectExpertsOp op, KernelOpBuilder &b,
                                     DeviceFunction &function);
mlir::LogicalResult convertToKernels(SortOp op, KernelOpBuilder &b,
                                     DeviceFunction &function);
mlir::LogicalResult convertToKernels(TakeOp op, KernelOpBuilder &b,
                                     DeviceFunction &function);
mlir::LogicalResult convertToKernels(CountsOp op, KernelOpBuilder &b,
                                     DeviceFunction &function);
mlir::LogicalResult convertToKernels(RegroupOp op, KernelOpBuilder &b,
                                     DeviceFunction &function);
mlir::LogicalResult convertToKernels(CombineOp op, KernelOpBuilder &b,
                                     DeviceFunction &function);

/// Sets the first words of an i32 buffer to index values.
mlir::LogicalResult launchSetWords(mlir::Operation *op, KernelOpBuilder &b,
                                   DeviceFunction &function, mlir::Value target,
                                   mlir::ValueRange words);

/// Moves `rows` rows of `columns` bf16 by an index, as MoveRowsSpec says.
struct RowMove {
  mlir::Value from, index, weights, to, rows;
  int64_t columns = 0, divisor = 1;
  bool scatter = false;
};
mlir::LogicalResult launchMove(mlir::Operation *op, KernelOpBuilder &b,
                               DeviceFunction &function, const RowMove &move);

/// Adds the kernels that sum what ranks bring, if the function's collectives
/// need any.
void addSumKernels(mlir::func::FuncOp function, KernelTable &table);

//===----------------------------------------------------------------------===//
// Small helpers of the conversions
//===----------------------------------------------------------------------===//

mlir::Value constantIndex(KernelOpBuilder &b, int64_t value);
/// Rows of a buffer.
mlir::Value rowCount(KernelOpBuilder &b, mlir::Value buffer);
mlir::Value timesFactor(KernelOpBuilder &b, mlir::Value rows, int64_t factor);
/// Fails, with a message, unless the elements are bf16.
mlir::LogicalResult expectBF16(mlir::Operation *op, llvm::StringRef what,
                               mlir::Value buffer);

} // namespace moe

#endif
