// Moves rows by an index: a gather or a scatter.
#ifndef MOE_CODEGEN_MOVEROWS_H
#define MOE_CODEGEN_MOVEROWS_H

#include "moe/Codegen/KernelModule.h"

#include "mlir/IR/Diagnostics.h"

namespace moe {

/// y[i] = x[index[i] / divisor], times weights[index[i]] with `weights`; with
/// `scatter`, y[index[i]] = x[i].
///
/// - x, y: rows of `columns` bf16, or with `words` of any elements of 32 bits;
///   index: i32; weights: f32
struct MoveRowsSpec {
  std::string name = "move_rows";
  int64_t columns = 0;
  int64_t divisor = 1;
  bool scatter = false;
  bool weights = false;
  bool words = false;
};

mlir::LogicalResult
verifyMoveRows(const MoveRowsSpec &spec,
               llvm::function_ref<mlir::InFlightDiagnostic()> emitError);
KernelInterface getMoveRowsInterface(const MoveRowsSpec &spec);
mlir::LLVM::LLVMFuncOp buildMoveRows(mlir::gpu::GPUModuleOp module,
                                     const MoveRowsSpec &spec);

} // namespace moe

#endif
