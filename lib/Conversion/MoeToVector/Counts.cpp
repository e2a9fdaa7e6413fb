// A few hundred differences: one thread computes them.
#include "Team.h"
#include "dialects/Moe/MoeDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "moe/Conversion/MoeToVector.h"
#include "moe/Conversion/TeamLoops.h"

using namespace mlir;
using namespace moe;

namespace {

struct LowerCounts : OpRewritePattern<CountsOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(CountsOp op,
                                PatternRewriter &rewriter) const override {
    if (!op.getOuts() || !hasIdentityLayouts(op))
      return rewriter.notifyMatchFailure(
          op, "outs and identity layouts are expected");
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    team::onFirstThread(b, [&](ImplicitLocOpBuilder &) {
      Value counts = flatten(b, op.getOuts());
      Value size = b.createOrFold<memref::DimOp>(counts, 0);
      team::forLoop(
          b, team::constant(b, 0), size, 1,
          [&](ImplicitLocOpBuilder &, Value slot) {
            Value next = arith::AddIOp::create(b, slot, team::constant(b, 1));
            Value low = memref::LoadOp::create(b, op.getOffsets(), slot);
            Value high = memref::LoadOp::create(b, op.getOffsets(), next);
            Value count = arith::SubIOp::create(b, high, low);
            memref::StoreOp::create(b, count, counts, slot);
          });
    });
    meet(b);
    rewriter.eraseOp(op);
    return success();
  }
};

} // namespace

void moe::populateCountsToVector(RewritePatternSet &patterns) {
  patterns.add<LowerCounts>(patterns.getContext());
}
