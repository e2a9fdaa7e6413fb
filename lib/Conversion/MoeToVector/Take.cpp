// Each thread gathers a consecutive part of the sorted rows.
#include "RowVectors.h"
#include "Team.h"
#include "dialects/Moe/MoeDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "moe/Conversion/MoeToVector.h"
#include "moe/Conversion/TeamLoops.h"

using namespace mlir;
using namespace moe;

namespace {

struct LowerTake : OpRewritePattern<TakeOp> {
  LowerTake(MLIRContext *context, const CpuTile &tile)
      : OpRewritePattern(context), tile(tile) {}

  LogicalResult matchAndRewrite(TakeOp op,
                                PatternRewriter &rewriter) const override {
    auto x = dyn_cast<MemRefType>(op.getX().getType());
    if (!op.getOuts() || !x || x.isDynamicDim(1) || !hasIdentityLayouts(op))
      return rewriter.notifyMatchFailure(
          op, "outs, a static width and identity layouts are expected");
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    Value pairsPerToken = team::constant(b, op.getTopK());
    auto [begin, end] = team::slice(b, op.getRows());
    team::forLoop(b, begin, end, 1, [&](ImplicitLocOpBuilder &, Value row) {
      Value pair = loadIndex(b, op.getOrder(), row);
      Value token = arith::DivUIOp::create(b, pair, pairsPerToken);
      Value weight;
      if (Value weights = op.getWeights()) {
        Value place = arith::RemUIOp::create(b, pair, pairsPerToken);
        weight = memref::LoadOp::create(b, weights, ValueRange{token, place});
      }
      forColumns(b, x.getDimSize(1), tile.lanes,
                 [&](Value column, int64_t elements) {
                   move(b, op, token, row, weight, column, elements);
                 });
    });
    meet(b);
    rewriter.eraseOp(op);
    return success();
  }

private:
  void move(ImplicitLocOpBuilder &b, TakeOp op, Value token, Value row,
            Value weight, Value column, int64_t elements) const {
    Type from = cast<MemRefType>(op.getX().getType()).getElementType();
    Type to = cast<MemRefType>(op.getOuts().getType()).getElementType();
    if (!weight && from == to) {
      Value value = loadRow(b, op.getX(), token, column, elements);
      vector::StoreOp::create(b, value, op.getOuts(), ValueRange{row, column});
      return;
    }
    Value value = loadRowF32(b, op.getX(), token, column, elements);
    if (weight)
      value =
          arith::MulFOp::create(b, broadcastF32(b, weight, elements), value);
    storeRowF32(b, value, op.getOuts(), row, column);
  }

  CpuTile tile;
};

} // namespace

void moe::populateTakeToVector(RewritePatternSet &patterns,
                               const CpuTile &tile) {
  patterns.add<LowerTake>(patterns.getContext(), tile);
}
