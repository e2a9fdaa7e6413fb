// Weighted sum of each token's rows, in ascending order of its pairs.
#ifndef MOE_CODEGEN_COMBINE_H
#define MOE_CODEGEN_COMBINE_H

#include "moe/Codegen/KernelModule.h"

#include "mlir/IR/Diagnostics.h"

namespace moe {

/// y[t] = sum over j, positions[t][j] >= 0, of weights[t][j] *
/// rows[positions[t][j]], then gate[t] * addend[t]; in f32, j ascending,
/// rounded once. Without `positions` row t is the one row of token t.
///
/// - rows[m][columns], addend[tokens][columns], y[tokens][columns]: bf16
/// - positions[tokens][topK]: i32; weights[tokens][topK], gate[tokens]: f32
struct CombineSpec {
  std::string name = "combine";
  int64_t columns = 0, topK = 0;
  bool weights = true; ///< else 1, where the rows carry them already
  bool addend = false;
  bool gate = false; ///< only with `addend`, else 1
  bool positions = true;
  /// The kernel before this one in its stream makes `rows` alone: positions and
  /// weights are read before that kernel's end is awaited.
  bool placesFirst = false;
};

mlir::LogicalResult
verifyCombine(const CombineSpec &spec,
              llvm::function_ref<mlir::InFlightDiagnostic()> emitError);
KernelInterface getCombineInterface(const CombineSpec &spec);
mlir::LLVM::LLVMFuncOp buildCombine(mlir::gpu::GPUModuleOp module,
                                    const CombineSpec &spec);

} // namespace moe

#endif
