// Small kernels on numbers of rows: differences of offsets, the order of rows
// that several sources sent, single words.
#ifndef MOE_CODEGEN_REGROUP_H
#define MOE_CODEGEN_REGROUP_H

#include "moe/Codegen/KernelModule.h"

#include "mlir/IR/Diagnostics.h"

namespace moe {

/// counts[i] = offsets[i + 1] - offsets[i], i < count; all i32.
///
/// Launched with getCountsBlocks CTAs.
struct CountsSpec {
  std::string name = "counts";
  int64_t count = 0;
};
int64_t getCountsBlocks(const CountsSpec &spec);
KernelInterface getCountsInterface(const CountsSpec &spec);
mlir::LLVM::LLVMFuncOp buildCounts(mlir::gpu::GPUModuleOp module,
                                   const CountsSpec &spec);

/// counts[sources][slots] rows stand ordered by (source, slot): order[i] is the
/// one that stands i-th by (slot, source), offsets[slots + 1] the first of each
/// slot in that order; all i32.
///
/// Launched with sources * slots CTAs.
struct RegroupSpec {
  std::string name = "regroup";
  int64_t sources = 0, slots = 0;
};
mlir::LogicalResult
verifyRegroup(const RegroupSpec &spec,
              llvm::function_ref<mlir::InFlightDiagnostic()> emitError);
KernelInterface getRegroupInterface(const RegroupSpec &spec);
mlir::LLVM::LLVMFuncOp buildRegroup(mlir::gpu::GPUModuleOp module,
                                    const RegroupSpec &spec);

/// target[0], target[1], ... = the i32 parameters that follow it. One CTA.
struct SetWordsSpec {
  std::string name = "set_words";
  int64_t count = 1;
};
KernelInterface getSetWordsInterface(const SetWordsSpec &spec);
mlir::LLVM::LLVMFuncOp buildSetWords(mlir::gpu::GPUModuleOp module,
                                     const SetWordsSpec &spec);

/// target[i] = 0, i < count, an i32. Any number of CTAs is right.
struct ZeroWordsSpec {
  std::string name = "zero_words";
};
KernelInterface getZeroWordsInterface(const ZeroWordsSpec &spec);
mlir::LLVM::LLVMFuncOp buildZeroWords(mlir::gpu::GPUModuleOp module,
                                      const ZeroWordsSpec &spec);

} // namespace moe

#endif
