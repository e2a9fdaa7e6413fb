// Scores and top-k selection of a router, from its logits.
#ifndef MOE_CODEGEN_SELECTEXPERTS_H
#define MOE_CODEGEN_SELECTEXPERTS_H

#include "moe/Codegen/KernelModule.h"

#include "mlir/IR/Diagnostics.h"

namespace moe {

enum class SelectScore { Softmax, Sigmoid };
/// How a group of experts is scored before the best groups are kept.
enum class SelectGroups { None, Max, Top2Sum };

/// Per token, in f32: scores s of the logits l; the `topK` experts of largest
/// c = s + bias (ties to the lowest id, NaN above every number), only from the
/// `keptGroups` best groups; weights s of the selected in descending order of
/// c, divided by their sum + `epsilon` with `normalize`, times `scale`.  With
/// `scoreAfter` the selection runs on l + bias and the scores are taken over
/// the selected logits.
///
/// - logits[tokens][experts], bias[experts] (only with `bias`): f32
/// - ids[tokens][topK]: i32; weights[tokens][topK]: f32
/// - tokens: i32
///
/// One warp per token.
struct SelectExpertsSpec {
  std::string name = "select_experts";
  int64_t experts = 0, topK = 0;
  SelectScore score = SelectScore::Softmax;
  bool scoreAfter = false, bias = false, normalize = false;
  SelectGroups groupScore = SelectGroups::None;
  int64_t groups = 1, keptGroups = 1;
  /// Experts outside of the kept groups get c = 0, else minus infinity.
  bool maskZero = true;
  double epsilon = 0.0, scale = 1.0;
};

mlir::LogicalResult
verifySelectExperts(const SelectExpertsSpec &spec,
                    llvm::function_ref<mlir::InFlightDiagnostic()> emitError);
KernelInterface getSelectExpertsInterface(const SelectExpertsSpec &spec);
mlir::LLVM::LLVMFuncOp buildSelectExperts(mlir::gpu::GPUModuleOp module,
                                          const SelectExpertsSpec &spec);

} // namespace moe

#endif
