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

/// The last of these passes: every gpu.module becomes a gpu.binary of `format`,
/// PTX or Cubin.
std::unique_ptr<mlir::Pass> createSerializeKernelsPass(DeviceFormat format,
                                                       llvm::StringRef toolkit);

/// Registers the pipeline `lower-device-kernels{format=llvm|ptx|cubin}`.
void registerDeviceKernelPipeline();

} // namespace moe

#endif
