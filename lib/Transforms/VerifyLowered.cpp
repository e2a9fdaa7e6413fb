#include "dialects/Moert/MoertDialect.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Shard/IR/ShardOps.h"
#include "moe/Transforms/Passes.h"

namespace moe {
#define GEN_PASS_DEF_VERIFYLOWEREDPASS
#include "moe/Transforms/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

static LogicalResult verifyTop(Operation *op) {
  if (isa<moert::InterfaceOp, shard::GridOp, LLVM::GlobalOp, gpu::BinaryOp>(op))
    return success();
  auto function = dyn_cast<LLVM::LLVMFuncOp>(op);
  if (!function)
    return op->emitOpError("is left in the phase `lowered`, which has only the "
                           "llvm dialect, the grid and interfaces");
  if (function.isExternal())
    return op->emitOpError() << "declares `" << function.getName()
                             << "`, but a program calls only entry points";
  WalkResult walk = function.walk([](Operation *inner) {
    if (isa<LLVM::LLVMDialect>(inner->getDialect()))
      return WalkResult::advance();
    inner->emitOpError("is left in the phase `lowered`, which has only the "
                       "llvm dialect");
    return WalkResult::interrupt();
  });
  return failure(walk.wasInterrupted());
}

namespace {

struct VerifyLoweredPass : moe::impl::VerifyLoweredPassBase<VerifyLoweredPass> {
  void runOnOperation() override {
    markAllAnalysesPreserved();
    for (Operation &op : *getOperation().getBody())
      if (failed(verifyTop(&op)))
        return signalPassFailure();
  }
};

} // namespace
