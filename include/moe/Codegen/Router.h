// A router in one kernel: product, scores, selection.
#ifndef MOE_CODEGEN_ROUTER_H
#define MOE_CODEGEN_ROUTER_H

#include "moe/Codegen/SelectExperts.h"

namespace moe {

enum class RouterType { BF16, F32 };

/// logits[t] = x[t] w^T + logitBias, summed in f32, then SelectExperts.
///
/// - x[tokens][hidden], w[experts][hidden]: of their types
/// - logit_bias[experts], bias[experts] (of the selection): f32, only with
///   `logitBias`, `select.bias`
/// - logits[tokens][experts]: f32, scratch and result
/// - state[ceil(tokens / tokensPerBlock)]: i32, zero before the first launch;
///   the kernel leaves it so
/// - ids[tokens][topK]: i32; weights[tokens][topK]: f32
/// - tokens: i32
///
/// bf16 with bf16 runs on tensor cores where 16 experts stand side by side, all
/// else by f32 FMA.  The last CTA of a block of tokens selects, none waits.
struct RouterSpec {
  std::string name = "router";
  int64_t hidden = 0;
  RouterType x = RouterType::BF16, w = RouterType::BF16;
  bool logitBias = false;
  bool roundLogits = false; ///< to bf16, before the scores
  /// 8, or 64 where tokens are many (tensor cores only).
  int64_t tokensPerBlock = 8;
  /// 16, or 2 where tokens are few: more CTAs, always by f32 FMA.
  int64_t expertsPerBlock = 16;
  SelectExpertsSpec select;

  bool usesTensorCores() const {
    return x == RouterType::BF16 && w == RouterType::BF16 &&
           expertsPerBlock == 16;
  }
};

mlir::LogicalResult
verifyRouter(const RouterSpec &spec,
             llvm::function_ref<mlir::InFlightDiagnostic()> emitError);
KernelInterface getRouterInterface(const RouterSpec &spec);
mlir::LLVM::LLVMFuncOp buildRouter(mlir::gpu::GPUModuleOp module,
                                   const RouterSpec &spec);

} // namespace moe

#endif
