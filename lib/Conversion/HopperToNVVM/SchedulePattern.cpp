// The schedule: from a tile number to an expert, rows and columns.
#include "Patterns.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace moe;
using namespace moe::hopper;

namespace {
struct NextTilePattern : OpConversionPattern<NextTileOp> {
  using OpConversionPattern::OpConversionPattern;

  struct Found {
    Value expert, first, begin, end;
  };

  /// Walks to the expert that holds the tile; expert = experts when there is
  /// none.
  static Found findExpert(DeviceBuilder &b, NextTileOp op, OpAdaptor adaptor,
                          int64_t columnTiles) {
    int64_t experts = op.getExperts();
    auto offset = [&](Operand expert) {
      return b.load(b.getI32Type(),
                    b.atElement(adaptor.getOffsets(), b.getI32Type(), expert));
    };
    Value zero = b.i32(0);
    auto state = b.loopWhile(
        {adaptor.getExpert(), adaptor.getFirst(), zero, zero, zero},
        [&](ValueRange s) -> std::pair<Value, SmallVector<Value>> {
          Value more = b.less(s[0], experts);
          Value expert = b.min(s[0], experts - 1);
          Value begin = offset(expert), end = offset(b.add(expert, 1));
          Value tiles = b.ceilDiv(b.sub(end, begin), op.getTileRows());
          Value stop = b.add(s[1], b.mul(tiles, columnTiles));
          Value past = b.less(b.sub(stop, 1), adaptor.getTile());
          return {b.both(more, past), {s[0], s[1], begin, end, stop}};
        },
        [&](ValueRange s) -> SmallVector<Value> {
          return {b.add(s[0], 1), s[4], s[2], s[3], s[4]};
        });
    return {state[0], state[1], state[2], state[3]};
  }

  LogicalResult
  matchAndRewrite(NextTileOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    DeviceBuilder b(op.getLoc(), rewriter);
    int64_t tileRows = op.getTileRows(), pass = op.getPassTiles();
    int64_t columnTiles =
        llvm::divideCeil(op.getColumns(), op.getTileColumns());
    Found at = findExpert(b, op, adaptor, columnTiles);
    Value valid = b.less(at.expert, op.getExperts());
    // Never zero, so that the divisions below are defined when there is no
    // tile.
    Value rows = b.sub(at.end, at.begin);
    Value rowTiles = b.max(b.ceilDiv(rows, tileRows), 1);
    Value local = b.sub(adaptor.getTile(), at.first);
    Value passes = b.ceilDiv(rowTiles, pass);
    Value height = b.div(b.add(rowTiles, b.sub(passes, 1)), passes);
    Value passBegin = b.mul(b.div(local, b.mul(height, columnTiles)), height);
    Value passHeight = b.max(b.min(b.sub(rowTiles, passBegin), height), 1);
    Value inPass = b.sub(local, b.mul(passBegin, columnTiles));
    Value column = b.div(inPass, passHeight);
    Value row = b.sub(inPass, b.mul(column, passHeight));
    if (op.getRotate())
      row = b.rem(b.add(row, column), passHeight);
    row = b.add(passBegin, row);
    column = b.mul(column, op.getTileColumns());
    Value end = at.end;
    if (std::optional<uint64_t> unit = op.getEqual()) {
      int64_t rounding = *unit;
      Value least = b.div(b.add(rows, b.sub(rowTiles, 1)), rowTiles);
      Value equal = b.mul(b.ceilDiv(least, rounding), rounding);
      row = b.add(at.begin, b.mul(row, equal));
      end = b.min(b.add(row, equal), end);
    } else {
      row = b.add(at.begin, b.mul(row, tileRows));
    }
    rewriter.replaceOp(op, {valid, at.expert, at.first, row, end, column});
    return success();
  }
};
} // namespace

void moe::populateSchedulePatterns(const TypeConverter &converter,
                                   RewritePatternSet &patterns) {
  patterns.add<NextTilePattern>(converter, patterns.getContext());
}
