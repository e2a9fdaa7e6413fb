// The last steps of a CPU program, below which only the llvm dialect remains.
#ifndef MOE_PIPELINES_VECTORTOLLVM_H
#define MOE_PIPELINES_VECTORTOLLVM_H

namespace mlir {
class OpPassManager;
} // namespace mlir

namespace moe {

/// For modules of func, scf, arith, math, memref and vector on static-rank
/// memrefs, as convert-moe-to-vector leaves them; no moe or moert op. LLVM must
/// compile the result with library functions disabled ("no-builtins"), else it
/// makes memcpy and memset of loops.
void buildVectorToLLVMPipeline(mlir::OpPassManager &manager);

/// Registers it as --moe-vector-to-llvm.
void registerVectorToLLVMPipeline();

} // namespace moe
#endif
