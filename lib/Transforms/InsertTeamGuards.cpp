// Dense leftovers beside the layer's own ops, such as a sum of two tensors, are
// not shared out over the team: one thread does them, then all meet.
#include "dialects/Moert/MoertDialect.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "moe/Transforms/Passes.h"

namespace moe {
#define GEN_PASS_DEF_INSERTTEAMGUARDSPASS
#include "moe/Transforms/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {

struct InsertTeamGuardsPass
    : moe::impl::InsertTeamGuardsPassBase<InsertTeamGuardsPass> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    SmallVector<Operation *> leftovers;
    getOperation().walk([&](Operation *op) {
      if (isa<linalg::LinalgOp>(op))
        leftovers.push_back(op);
    });
    for (Operation *op : leftovers)
      if (!cast<linalg::LinalgOp>(op).hasPureBufferSemantics()) {
        op->emitOpError("works on tensors, but buffers alone are expected");
        return signalPassFailure();
      }
    for (Operation *op : leftovers)
      guard(rewriter, op);
  }

  static void guard(IRRewriter &rewriter, Operation *op) {
    Location loc = op->getLoc();
    rewriter.setInsertionPoint(op);
    Value thread =
        moert::ThreadOp::create(rewriter, loc, rewriter.getIndexType());
    Value zero = arith::ConstantIndexOp::create(rewriter, loc, 0);
    Value first = arith::CmpIOp::create(rewriter, loc, arith::CmpIPredicate::eq,
                                        thread, zero);
    auto branch = scf::IfOp::create(rewriter, loc, first);
    rewriter.setInsertionPointAfter(branch);
    moert::TeamBarrierOp::create(rewriter, loc);
    rewriter.moveOpBefore(op, branch.thenBlock()->getTerminator());
    rewriter.setInsertionPoint(op);
    if (succeeded(
            linalg::linalgOpToLoops(rewriter, cast<linalg::LinalgOp>(op))))
      rewriter.eraseOp(op);
  }
};

} // namespace
