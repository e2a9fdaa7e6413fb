// The shell of a device kernel: its gpu.module, its function, its dynamic
// shared memory.
#ifndef MOE_CODEGEN_KERNELMODULE_H
#define MOE_CODEGEN_KERNELMODULE_H

#include "moe/Codegen/KernelInterface.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/Builders.h"

namespace moe {

class DeviceBuilder;

/// A gpu.module for sm_90a.
mlir::gpu::GPUModuleOp createKernelModule(mlir::OpBuilder &builder,
                                          mlir::Location loc,
                                          llvm::StringRef name);

/// Who waits for what comes before a kernel in its stream.
enum class Waits {
  AtEntry, ///< the kernel, before its body
  InBody,  ///< the body, after what needs nothing of it
};

/// The kernel of `interface` in `module`, with what `body` emits: an llvm.func,
/// because gpu.func can carry neither a tensor map by value nor the alignment
/// of shared memory.
mlir::LLVM::LLVMFuncOp buildKernel(
    mlir::gpu::GPUModuleOp module, const KernelInterface &interface,
    llvm::function_ref<void(DeviceBuilder &, mlir::LLVM::LLVMFuncOp)> body,
    Waits waits = Waits::AtEntry);

/// The module's dynamic shared memory, aligned to 1024 bytes for the swizzle;
/// made on first use.
mlir::Value getDynamicShared(mlir::OpBuilder &builder, mlir::Location loc,
                             mlir::gpu::GPUModuleOp module);

} // namespace moe

#endif
