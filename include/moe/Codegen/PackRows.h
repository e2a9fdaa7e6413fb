// Brings a weight into the form that the matmul kernels read.
#ifndef MOE_CODEGEN_PACKROWS_H
#define MOE_CODEGEN_PACKROWS_H

#include "moe/Codegen/KernelModule.h"

#include "mlir/IR/Diagnostics.h"

namespace moe {

/// target[groups][parts * paddedRows][paddedColumns] from
/// source[groups][parts][rows][columns]: rows of two parts alternate in blocks
/// of eight; what the source does not have is zero. With `blocked` the target
/// stands in blocks of 8 rows x 64 columns, [rows / 8][columns / 64][8][64].
///
/// Launched with getPackRowsBlocks CTAs.
struct PackRowsSpec {
  std::string name = "pack_rows";
  int64_t groups = 1, parts = 1, rows = 0, columns = 1;
  int64_t paddedRows = 0, paddedColumns = 1;
  bool sourceF32 = false, targetF32 = false; ///< else bf16
  bool blocked = false;
};

mlir::LogicalResult
verifyPackRows(const PackRowsSpec &spec,
               llvm::function_ref<mlir::InFlightDiagnostic()> emitError);
int64_t getPackRowsBlocks(const PackRowsSpec &spec);
KernelInterface getPackRowsInterface(const PackRowsSpec &spec);
mlir::LLVM::LLVMFuncOp buildPackRows(mlir::gpu::GPUModuleOp module,
                                     const PackRowsSpec &spec);

} // namespace moe

#endif
