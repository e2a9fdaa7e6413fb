// sanitizer-pass-canary: a pass that counts in one variable for all threads of
// MLIR's pool, so that scripts/sanitize knows that it would be told of such in
// the compiler.
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/ThreadPool.h"
#include <chrono>
#include <thread>

using namespace mlir;

namespace {

volatile int counter = 0;

struct CountPass : PassWrapper<CountPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(CountPass)

  void runOnOperation() override {
    // Long enough for each thread to take one.
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    counter = counter + 1;
  }
};

} // namespace

int main() {
  MLIRContext context(MLIRContext::Threading::DISABLED);
  llvm::DefaultThreadPool pool(llvm::hardware_concurrency(4));
  context.setThreadPool(pool);
  Location loc = UnknownLoc::get(&context);
  OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
  OpBuilder builder = OpBuilder::atBlockEnd(module->getBody());
  for (int i = 0; i < 8; ++i)
    ModuleOp::create(builder, loc);
  PassManager manager(&context);
  manager.addNestedPass<ModuleOp>(std::make_unique<CountPass>());
  return failed(manager.run(*module));
}
