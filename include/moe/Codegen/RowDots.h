// Products of tokens with a few weight rows: a router's logits, a gate.
#ifndef MOE_CODEGEN_ROWDOTS_H
#define MOE_CODEGEN_ROWDOTS_H

#include "moe/Codegen/KernelModule.h"

#include "mlir/IR/Diagnostics.h"

namespace moe {

/// y[t][r] = sum over c of x[t][c] * w[r][c], plus bias[r]; in f32, then
/// rounded to bf16 with `round`, or put through a sigmoid with `sigmoid`.
///
/// - x[tokens][columns], w[rows][columns]: bf16; bias[rows], y[tokens][rows]:
///   f32
struct RowDotsSpec {
  std::string name = "row_dots";
  int64_t rows = 0, columns = 0;
  bool bias = false, round = false, sigmoid = false;
};

mlir::LogicalResult
verifyRowDots(const RowDotsSpec &spec,
              llvm::function_ref<mlir::InFlightDiagnostic()> emitError);
KernelInterface getRowDotsInterface(const RowDotsSpec &spec);
mlir::LLVM::LLVMFuncOp buildRowDots(mlir::gpu::GPUModuleOp module,
                                    const RowDotsSpec &spec);

} // namespace moe

#endif
