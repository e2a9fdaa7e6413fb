// The shell of a device kernel: its gpu.module, its function, its dynamic
// shared memory.
#ifndef MOE_CODEGEN_KERNELMODULE_H
#define MOE_CODEGEN_KERNELMODULE_H

#include "moe/Codegen/KernelInterface.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/Builders.h"

namespace moe {

/// A gpu.module for sm_90a.
mlir::gpu::GPUModuleOp createKernelModule(mlir::OpBuilder &builder,
                                          mlir::Location loc,
                                          llvm::StringRef name);

/// A kernel without body in `module`: an llvm.func, because gpu.func can carry
/// neither a tensor map by value nor the alignment of shared memory.  Sets the
/// builder into its entry block, which ends in a return.
mlir::LLVM::LLVMFuncOp createKernelFunction(mlir::OpBuilder &builder,
                                            mlir::gpu::GPUModuleOp module,
                                            const KernelInterface &interface);

/// The module's dynamic shared memory, aligned to 1024 bytes for the swizzle;
/// made on first use.
mlir::Value getDynamicShared(mlir::OpBuilder &builder, mlir::Location loc,
                             mlir::gpu::GPUModuleOp module);

} // namespace moe

#endif
