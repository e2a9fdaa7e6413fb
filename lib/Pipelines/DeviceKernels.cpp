#include "moe/Pipelines/DeviceKernels.h"
#include "moe/Conversion/HopperToNVVM.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"

using namespace mlir;
using namespace moe;

std::optional<std::string> moe::findCudaToolkit() {
  if (auto found = llvm::sys::findProgramByName("ptxas")) {
    // A link in PATH may stand outside of its toolkit.
    SmallString<128> real;
    if (llvm::sys::fs::real_path(*found, real))
      real = *found;
    StringRef bin = llvm::sys::path::parent_path(real);
    return llvm::sys::path::parent_path(bin).str();
  }
  auto has = [](StringRef toolkit) {
    SmallString<128> tool(toolkit);
    llvm::sys::path::append(tool, "bin", "ptxas");
    return llvm::sys::fs::can_execute(tool);
  };
  if (const char *home = std::getenv("CUDA_HOME"); home && has(home))
    return std::string(home);
  // Where scripts/install-deps puts one.
  SmallString<128> own;
  if (const char *data = std::getenv("XDG_DATA_HOME"); data && *data)
    own = data;
  else if (llvm::sys::path::home_directory(own))
    llvm::sys::path::append(own, ".local", "share");
  llvm::sys::path::append(own, "moe-mlir", "cuda");
  if (has(own))
    return own.str().str();
  return std::nullopt;
}

void moe::addDeviceKernelPasses(OpPassManager &manager, DeviceFormat format,
                                StringRef toolkit) {
  manager.addPass(createOrderKernelsPass());
  // A thread leads a kernel from here to its machine code.
  OpPassManager &device = manager.nest<gpu::GPUModuleOp>();
  device.addPass(createConvertHopperToNVVMPass());
  // Before the loops lose their form: hoists addresses, shares ring positions.
  // Bottom up: branches with a value per register take long the other way.
  GreedyRewriteConfig upwards;
  upwards.setUseTopDownTraversal(false);
  device.addPass(createCanonicalizerPass(upwards));
  device.addPass(createCSEPass());
  device.addPass(createSCFToControlFlowPass());
  // Brings cf and arith to llvm as well; cf cannot be converted alone inside a
  // gpu.module.
  device.addPass(createConvertGpuOpsToNVVMOps());
  device.addPass(createConvertNVVMToLLVMPass());
  device.addPass(createReconcileUnrealizedCastsPass());
  device.addPass(createCanonicalizerPass());
  device.addPass(createCSEPass());
  if (format == DeviceFormat::LLVM)
    return;
  device.addPass(createCompileKernelPass(format, toolkit));
  manager.addPass(createSerializeKernelsPass());
}

namespace {
struct DeviceKernelOptions : PassPipelineOptions<DeviceKernelOptions> {
  Option<DeviceFormat> format{
      *this, "format", llvm::cl::desc("how far to go"),
      llvm::cl::init(DeviceFormat::PTX),
      llvm::cl::values(
          clEnumValN(DeviceFormat::LLVM, "llvm", "llvm and nvvm dialects"),
          clEnumValN(DeviceFormat::PTX, "ptx", "assembly"),
          clEnumValN(DeviceFormat::Cubin, "cubin", "machine code"))};
};
} // namespace

void moe::registerDeviceKernelPipeline() {
  PassPipelineRegistration<DeviceKernelOptions>(
      "lower-device-kernels", "lowers gpu.modules of hopper kernels",
      [](OpPassManager &manager, const DeviceKernelOptions &options) {
        addDeviceKernelPasses(manager, options.format,
                              findCudaToolkit().value_or(""));
      });
}
