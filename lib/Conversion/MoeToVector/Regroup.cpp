// Two passes of one thread over the counts: where each (source, slot) begins
// among the received rows, then the rows of each slot, sources in order.
#include "Team.h"
#include "dialects/Moe/MoeDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "moe/Conversion/MoeToVector.h"
#include "moe/Conversion/TeamLoops.h"

using namespace mlir;
using namespace moe;

namespace {

struct LowerRegroup : OpRewritePattern<RegroupOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(RegroupOp op,
                                PatternRewriter &rewriter) const override {
    auto counts = dyn_cast<MemRefType>(op.getCounts().getType());
    if (op.getOuts().empty() || !counts || !counts.hasStaticShape() ||
        !hasIdentityLayouts(op))
      return rewriter.notifyMatchFailure(
          op, "outs, static counts and identity layouts are expected");
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    int64_t entries = counts.getNumElements();
    Value starts = team::scratch(b, MemRefType::get({entries}, b.getI32Type()));
    team::onFirstThread(b, [&](ImplicitLocOpBuilder &) {
      Value flat = flatten(b, op.getCounts());
      findStarts(b, flat, starts, entries);
      orderRows(b, op, flat, starts, entries, counts.getShape().back());
    });
    meet(b);
    rewriter.eraseOp(op);
    return success();
  }

private:
  // starts[i] = sum of the counts before i.
  void findStarts(ImplicitLocOpBuilder &b, Value counts, Value starts,
                  int64_t entries) const {
    Value zero = arith::ConstantOp::create(b, b.getI32IntegerAttr(0));
    auto step = [&](ImplicitLocOpBuilder &, Value entry,
                    ValueRange start) -> SmallVector<Value> {
      memref::StoreOp::create(b, start.front(), starts, entry);
      Value count = memref::LoadOp::create(b, counts, entry);
      return {arith::AddIOp::create(b, start.front(), count)};
    };
    team::forLoop(b, team::constant(b, 0), team::constant(b, entries), 1, zero,
                  step);
  }

  // Writes the rows of entry (source, slot) from `next` on; returns what
  // follows.
  Value appendRows(ImplicitLocOpBuilder &b, RegroupOp op, Value counts,
                   Value starts, Value entry, Value next) const {
    Value count = loadIndex(b, counts, entry);
    Value start = loadIndex(b, starts, entry);
    team::forLoop(b, team::constant(b, 0), count, 1,
                  [&](ImplicitLocOpBuilder &, Value i) {
                    Value row = arith::AddIOp::create(b, start, i);
                    Value place = arith::AddIOp::create(b, next, i);
                    Value narrow =
                        arith::IndexCastOp::create(b, b.getI32Type(), row);
                    memref::StoreOp::create(b, narrow, op.getOuts()[0], place);
                  });
    return arith::AddIOp::create(b, next, count);
  }

  void orderRows(ImplicitLocOpBuilder &b, RegroupOp op, Value counts,
                 Value starts, int64_t entries, int64_t slots) const {
    Value zero = team::constant(b, 0);
    auto setOffset = [&](Value slot, Value rows) {
      Value narrow = arith::IndexCastOp::create(b, b.getI32Type(), rows);
      memref::StoreOp::create(b, narrow, op.getOuts()[1], slot);
    };
    auto slotRows = [&](ImplicitLocOpBuilder &, Value slot,
                        ValueRange before) -> SmallVector<Value> {
      setOffset(slot, before.front());
      return team::forLoop(
          b, slot, team::constant(b, entries), slots, before,
          [&](ImplicitLocOpBuilder &, Value entry,
              ValueRange next) -> SmallVector<Value> {
            return {appendRows(b, op, counts, starts, entry, next.front())};
          });
    };
    Value last = team::constant(b, slots);
    Value rows = team::forLoop(b, zero, last, 1, zero, slotRows).front();
    setOffset(last, rows);
  }
};

} // namespace

void moe::populateRegroupToVector(RewritePatternSet &patterns) {
  patterns.add<LowerRegroup>(patterns.getContext());
}
