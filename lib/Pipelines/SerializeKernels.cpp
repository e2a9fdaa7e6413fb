// What CompileKernel has attached to each gpu.module becomes a gpu.binary.
#include "moe/Pipelines/DeviceKernels.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Pass/Pass.h"

using namespace mlir;
using namespace moe;

namespace {

class SerializeKernelsPass
    : public PassWrapper<SerializeKernelsPass, OperationPass<>> {
public:
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(SerializeKernelsPass)

  StringRef getArgument() const final { return "moe-serialize-kernels"; }
  StringRef getDescription() const final {
    return "turn every compiled gpu.module into a gpu.binary";
  }
  void runOnOperation() override {
    SmallVector<gpu::GPUModuleOp> modules;
    getOperation()->walk([&](gpu::GPUModuleOp op) { modules.push_back(op); });
    for (gpu::GPUModuleOp kernels : modules) {
      auto objects = kernels->getAttrOfType<ArrayAttr>(kCompiledObjects);
      if (!objects) {
        kernels.emitOpError("was not compiled");
        return signalPassFailure();
      }
      OpBuilder builder(kernels);
      gpu::BinaryOp::create(builder, kernels.getLoc(), kernels.getName(),
                            /*offloadingHandler=*/Attribute(),
                            objects.getValue());
      kernels.erase();
    }
  }
};

} // namespace

std::unique_ptr<Pass> moe::createSerializeKernelsPass() {
  return std::make_unique<SerializeKernelsPass>();
}
