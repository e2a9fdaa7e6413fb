// Rows in e4m3 with a scale per 128 columns, moved by an index on the way.
#ifndef MOE_CODEGEN_QUANTIZEROWS_H
#define MOE_CODEGEN_QUANTIZEROWS_H

#include "moe/Codegen/KernelModule.h"

#include "mlir/IR/Diagnostics.h"

namespace moe {

/// y[i] = round(x[index[i] / divisor] / yScale) in e4m3, where a row's scale
/// for 128 columns is their largest magnitude / 448; row i is x[i] unless
/// `indexed`.
///
/// - x: rows of `columns` bf16; y: of as many e4m3; index: i32
/// - yScale[columns / 128, rounded up][scaleRows]: f32, what an element is to
///   be multiplied by; scaleRows, at least y's rows, is given at launch
/// - offsets[groups + 1]: i32, only with `groups`: rows from offsets[groups] on
///   have no index and are left as they are
/// - rows: of y, given at launch
struct QuantizeRowsSpec {
  std::string name = "quantize_rows";
  int64_t columns = 0;
  int64_t divisor = 1; ///< only with an index
  bool indexed = true;
  int64_t groups = 0; ///< 0: all rows exist
};

mlir::LogicalResult
verifyQuantizeRows(const QuantizeRowsSpec &spec,
                   llvm::function_ref<mlir::InFlightDiagnostic()> emitError);
KernelInterface getQuantizeRowsInterface(const QuantizeRowsSpec &spec);
mlir::LLVM::LLVMFuncOp buildQuantizeRows(mlir::gpu::GPUModuleOp module,
                                         const QuantizeRowsSpec &spec);

} // namespace moe

#endif
