// Adds what several ranks bring to a collective.
#ifndef MOE_CODEGEN_SUMRANKS_H
#define MOE_CODEGEN_SUMRANKS_H

#include "moe/Codegen/KernelModule.h"

namespace moe {

/// target[i] = sum over m < members, m ascending, of source[m * stride + i], i
/// < count; in f32, rounded once. `count` and `stride` are i64, in elements.
/// The target may be one of the sources. Any number of CTAs is right.
struct SumRanksSpec {
  std::string name = "sum_ranks";
  bool f32 = false; ///< else bf16
};

KernelInterface getSumRanksInterface(const SumRanksSpec &spec);
mlir::LLVM::LLVMFuncOp buildSumRanks(mlir::gpu::GPUModuleOp module,
                                     const SumRanksSpec &spec);

} // namespace moe

#endif
