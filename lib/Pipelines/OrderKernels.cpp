// Kernels are compiled side by side, each by one thread: who takes longest must
// begin first, or threads wait for it at the end. Most of the time is ptxas',
// and of that products of many accumulators, one for each number of tokens,
// take by far the most.
#include "dialects/Hopper/HopperDialect.h"
#include "moe/Pipelines/DeviceKernels.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

using namespace mlir;
using namespace moe;

namespace {

class OrderKernelsPass
    : public PassWrapper<OrderKernelsPass, OperationPass<ModuleOp>> {
public:
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(OrderKernelsPass)

  StringRef getArgument() const final { return "moe-order-kernels"; }
  StringRef getDescription() const final {
    return "put the gpu.modules first that take longest to compile";
  }
  void runOnOperation() override;
};

} // namespace

// In operations, of which one product of a fragment is worth many.
static int64_t estimateWork(gpu::GPUModuleOp kernels) {
  int64_t work = 0;
  kernels.walk([&](Operation *op) {
    ++work;
    if (auto product = dyn_cast<hopper::MmaOp>(op))
      work += product.getColumns().value_or(
          product.getResult().getType().getColumns());
  });
  return work;
}

void OrderKernelsPass::runOnOperation() {
  auto modules = llvm::to_vector(getOperation().getOps<gpu::GPUModuleOp>());
  SmallVector<std::pair<int64_t, size_t>> order; // equal ones stay as they are
  for (auto [index, op] : llvm::enumerate(modules))
    order.push_back({-estimateWork(op), index});
  llvm::sort(order);
  Block *block = getOperation().getBody();
  for (auto [work, index] : order)
    modules[index]->moveBefore(block, block->end());
}

std::unique_ptr<Pass> moe::createOrderKernelsPass() {
  return std::make_unique<OrderKernelsPass>();
}
