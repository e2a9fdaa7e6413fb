// From gpu.modules of hopper kernels to device code.
#ifndef MOE_PIPELINES_DEVICEKERNELS_H
#define MOE_PIPELINES_DEVICEKERNELS_H

#include "mlir/Pass/PassManager.h"

#include <optional>
#include <string>

namespace moe {

enum class DeviceFormat {
  LLVM, ///< gpu.modules in the llvm and nvvm dialects
  PTX,  ///< gpu.binary holding assembly
  Cubin ///< gpu.binary holding machine code; needs ptxas
};

/// The folder (above bin/) of the ptxas in use: that of PATH, else of
/// CUDA_HOME, else what scripts/install-deps brought (moe-mlir/cuda in
/// XDG_DATA_HOME or ~/.local/share); none if none has one.
std::optional<std::string> findCudaToolkit();

/// Lowers every gpu.module below a builtin.module.  `toolkit` is what
/// findCudaToolkit gives, needed for Cubin alone.
void addDeviceKernelPasses(mlir::OpPassManager &manager, DeviceFormat format,
                           llvm::StringRef toolkit = {});

/// The first of these passes: gpu.modules that take longest come first.
std::unique_ptr<mlir::Pass> createOrderKernelsPass();

/// Compiles a gpu.module in the llvm and nvvm dialects to `format`, PTX or
/// Cubin: attaches an array of #gpu.object as kCompiledObjects.
std::unique_ptr<mlir::Pass> createCompileKernelPass(DeviceFormat format,
                                                    llvm::StringRef toolkit);
inline constexpr llvm::StringLiteral kCompiledObjects = "hopper.objects";

/// The last of these passes: every compiled gpu.module becomes a gpu.binary.
std::unique_ptr<mlir::Pass> createSerializeKernelsPass();

/// Registers the pipeline `lower-device-kernels{format=llvm|ptx|cubin}`.
void registerDeviceKernelPipeline();

} // namespace moe

#endif
