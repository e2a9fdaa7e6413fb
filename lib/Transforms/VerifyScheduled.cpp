#include "dialects/Moe/MoeDialect.h"
#include "dialects/Moert/MoertDialect.h"
#include "moe/Transforms/Passes.h"

namespace moe {
#define GEN_PASS_DEF_VERIFYSCHEDULEDPASS
#include "moe/Transforms/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

static LogicalResult verifyOp(Operation *op) {
  if (isa<RouteOp, ExpertsOp, SharedExpertOp>(op))
    return op->emitOpError(
        "is left in the phase `scheduled`, which has only its pieces");
  if (isa<memref::AllocOp, memref::AllocaOp>(op))
    return op->emitOpError("is left in the phase `scheduled`, whose buffers "
                           "all stand in the arena");
  for (Type type : op->getResultTypes())
    if (isa<TensorType>(type))
      return op->emitOpError() << "has a result of type " << type
                               << " in the phase `scheduled`, which is on "
                                  "memrefs";
  return success();
}

namespace {

struct VerifyScheduledPass
    : moe::impl::VerifyScheduledPassBase<VerifyScheduledPass> {
  void runOnOperation() override {
    markAllAnalysesPreserved();
    ModuleOp module = getOperation();
    for (func::FuncOp function : module.getOps<func::FuncOp>()) {
      if (!moert::lookupInterface(module, function.getName())) {
        function.emitError("has no `moert.interface` in the phase `scheduled`");
        return signalPassFailure();
      }
      WalkResult walk = function.walk([](Operation *op) {
        return failed(verifyOp(op)) ? WalkResult::interrupt()
                                    : WalkResult::advance();
      });
      if (walk.wasInterrupted())
        return signalPassFailure();
    }
  }
};

} // namespace
