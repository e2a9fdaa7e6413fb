// Upstream's gpu-module-to-binary, with the modules side by side: most of the
// time is ptxas'.
#include "moe/Pipelines/DeviceKernels.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/IR/Threading.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Target/LLVMIR/Export.h"

using namespace mlir;
using namespace moe;

namespace {

class SerializeKernelsPass
    : public PassWrapper<SerializeKernelsPass, OperationPass<>> {
public:
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(SerializeKernelsPass)
  SerializeKernelsPass(DeviceFormat format, StringRef toolkit)
      : format(format), toolkit(toolkit) {}

  StringRef getArgument() const final { return "moe-serialize-kernels"; }
  StringRef getDescription() const final {
    return "turn every gpu.module into a gpu.binary";
  }
  void runOnOperation() override;

private:
  FailureOr<SmallVector<Attribute>> serialize(gpu::GPUModuleOp kernels);

  DeviceFormat format;
  std::string toolkit;
};

} // namespace

FailureOr<SmallVector<Attribute>>
SerializeKernelsPass::serialize(gpu::GPUModuleOp kernels) {
  ArrayAttr targets = kernels.getTargetsAttr();
  if (!targets || targets.empty())
    return kernels.emitOpError("has no target that it could be compiled for");
  gpu::TargetOptions options(
      toolkit, /*librariesToLink=*/{}, /*cmdOptions=*/{}, /*elfSection=*/{},
      format == DeviceFormat::PTX ? gpu::CompilationTarget::Assembly
                                  : gpu::CompilationTarget::Binary);
  SmallVector<Attribute> objects;
  for (Attribute attribute : targets) {
    auto target = dyn_cast<gpu::TargetAttrInterface>(attribute);
    if (!target)
      return kernels.emitOpError() << "has the target " << attribute
                                   << ", which cannot be compiled for";
    std::optional<SmallVector<char, 0>> object =
        target.serializeToObject(kernels, options);
    if (!object)
      return kernels.emitOpError("cannot be compiled");
    objects.push_back(target.createObject(kernels, *object, options));
  }
  return objects;
}

void SerializeKernelsPass::runOnOperation() {
  SmallVector<gpu::GPUModuleOp> modules;
  getOperation()->walk([&](gpu::GPUModuleOp op) { modules.push_back(op); });
  std::vector<SmallVector<Attribute>> objects(modules.size());
  LogicalResult all = failableParallelForEachN(
      &getContext(), 0, modules.size(), [&](size_t index) {
        FailureOr<SmallVector<Attribute>> result = serialize(modules[index]);
        if (succeeded(result))
          objects[index] = std::move(*result);
        return LogicalResult(result);
      });
  if (failed(all))
    return signalPassFailure();
  for (auto [kernels, made] : llvm::zip(modules, objects)) {
    OpBuilder builder(kernels);
    gpu::BinaryOp::create(builder, kernels.getLoc(), kernels.getName(),
                          /*offloadingHandler=*/Attribute(), made);
    kernels.erase();
  }
}

std::unique_ptr<Pass> moe::createSerializeKernelsPass(DeviceFormat format,
                                                      StringRef toolkit) {
  return std::make_unique<SerializeKernelsPass>(format, toolkit);
}
