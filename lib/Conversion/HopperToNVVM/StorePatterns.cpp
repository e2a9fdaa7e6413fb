// The way of a fragment to the output: registers, staging box, TMA.
#include "Patterns.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "moe/Codegen/ScalarMath.h"

using namespace mlir;
using namespace moe;
using namespace moe::hopper;

namespace {
struct StagingPattern : OpConversionPattern<StagingOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(StagingOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    DeviceBuilder b(op.getLoc(), rewriter);
    StagingType type = op.getStaging().getType();
    int64_t bytes = type.getBuffers() * type.getBox().getBytes();
    Value offset = b.add(b.mul(adaptor.getConsumer(), bytes), op.getOffset());
    rewriter.replaceOp(op, b.atByte(adaptor.getBase(), offset));
    return success();
  }
};

/// Packs neighbours to bf16x2, writes them by stmatrix into a swizzled box, and
/// lets one thread hand each box to TMA.
struct StoreTilePattern : OpConversionPattern<StoreTileOp> {
  using OpConversionPattern::OpConversionPattern;

  /// Address in a box, for this lane, of the row it gives to one stmatrix of
  /// `matrices` 8x8 matrices from number `first` of the box on: lanes 8 i .. 8
  /// i + 7 hold the rows of matrix i.
  static Value getMatrixRow(DeviceBuilder &b, StoreTileOp op, Value box,
                            int64_t first) {
    TileType tile = op.getStaging().getType().getBox();
    int64_t halves = FragmentLayout(op.getFragment().getType()).getHalves();
    Value lane = b.lane(), warp = b.warpInGroup();
    Value inner = b.bitAnd(lane, 7), matrix = b.add(b.shr(lane, 3), first);
    Value half = b.rem(matrix, halves), chunk = b.div(matrix, halves);
    Value row, column; // of the box; a column is 16 bytes wide
    if (op.getTransposed()) {
      row = b.add(b.shl(chunk, 3), inner);
      column = b.add(b.mul(warp, halves), half);
    } else {
      row = b.add(b.mul(b.add(b.mul(warp, halves), half), 8), inner);
      column = chunk;
    }
    int64_t bytes = tile.getRowBytes();
    // 128-byte rows: column xor row mod 8; 64-byte rows: column xor (row / 2)
    // mod 4.
    Value swizzle = bytes == 128 ? inner : b.shr(inner, 1);
    Value offset =
        b.add(b.mul(row, bytes), b.shl(b.bitXor(column, swizzle), 4));
    return b.atByte(box, offset);
  }

  static void writeBox(DeviceBuilder &b, StoreTileOp op, Value box,
                       ArrayRef<Value> matrices) {
    auto layout =
        op.getTransposed() ? NVVM::MMALayout::col : NVVM::MMALayout::row;
    auto shape = NVVM::LdStMatrixShapeAttr::get(b.getContext(), 8, 8);
    for (int64_t first = 0, step; !matrices.empty(); first += step) {
      int64_t count = matrices.size();
      step = count >= 4 ? 4 : count >= 2 ? 2 : 1;
      NVVM::StMatrixOp::create(b, getMatrixRow(b, op, box, first),
                               matrices.take_front(step), layout, shape,
                               NVVM::LdStMatrixEltType::B16);
      matrices = matrices.drop_front(step);
    }
  }

  /// One bulk group per box, empty for a box without live rows: the wait before
  /// reusing a buffer counts groups.
  static void sendBox(DeviceBuilder &b, StoreTileOp op, OpAdaptor adaptor,
                      Value box, Value leader, int64_t number) {
    TileType tile = op.getStaging().getType().getBox();
    int64_t height = tile.getRows();
    Value row = adaptor.getRow(), column = adaptor.getColumn();
    Value count = adaptor.getCount();
    if (op.getTransposed()) {
      row = b.add(row, number * height);
      count = b.sub(count, number * height);
    } else {
      column = b.add(column, number * tile.getColumns());
    }
    Value live = b.min(count, height);
    b.ifThen(leader, [&] {
      b.ifThen(b.less(0, live), [&] {
        NVVM::CpAsyncBulkTensorSharedCTAToGlobalOp::create(
            b, adaptor.getMap(), box,
            ValueRange{column, b.sub(height, live), b.add(row, live)}, Value(),
            NVVM::TMAStoreMode::TILE, Value());
      });
      NVVM::CpAsyncBulkCommitGroupOp::create(b);
    });
  }

  LogicalResult
  matchAndRewrite(StoreTileOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    DeviceBuilder b(op.getLoc(), rewriter);
    StagingType staging = op.getStaging().getType();
    SmallVector<Value> values = unpackRegisters(b, adaptor.getFragment());
    int64_t perBox = values.size() / op.getBoxes();
    Value leader = b.equal(b.bitAnd(b.threadId(), 127), 0);
    Value group = b.warpgroup();
    auto barrier = [&] {
      NVVM::BarrierOp::create(b, Type(), group, b.i32(128),
                              NVVM::BarrierReductionAttr(), Value());
    };
    for (int64_t number = 0; number < op.getBoxes(); ++number) {
      int64_t buffer = (op.getBuffer() + number) % staging.getBuffers();
      Value box =
          b.atByte(adaptor.getStaging(), buffer * staging.getBox().getBytes());
      SmallVector<Value> matrices;
      for (int64_t i = 0; i < perBox; i += 2)
        matrices.push_back(createBF16Pair(b, values[number * perBox + i],
                                          values[number * perBox + i + 1]));
      b.ifThen(leader, [&] {
        NVVM::CpAsyncBulkWaitGroupOp::create(b, staging.getBuffers() - 1,
                                             b.getUnitAttr());
      });
      barrier();
      writeBox(b, op, box, matrices);
      createAsyncProxyFence(b);
      barrier();
      sendBox(b, op, adaptor, box, leader, number);
    }
    rewriter.eraseOp(op);
    return success();
  }
};

struct DrainStoresPattern : OpConversionPattern<DrainStoresOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(DrainStoresOp op, OpAdaptor,
                  ConversionPatternRewriter &rewriter) const override {
    DeviceBuilder b(op.getLoc(), rewriter);
    b.ifThen(b.equal(b.bitAnd(b.threadId(), 127), 0),
             [&] { NVVM::CpAsyncBulkWaitGroupOp::create(b, 0, UnitAttr()); });
    rewriter.eraseOp(op);
    return success();
  }
};
} // namespace

void moe::populateStorePatterns(const TypeConverter &converter,
                                RewritePatternSet &patterns) {
  patterns.add<StagingPattern, StoreTilePattern, DrainStoresPattern>(
      converter, patterns.getContext());
}
