// The way of a fragment to the output: registers, staging box, TMA.
#include "Patterns.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "moe/Codegen/ScalarMath.h"

using namespace mlir;
using namespace moe;
using namespace moe::hopper;

/// Address in a box, for this lane, of the row it gives to one stmatrix of
/// 8x8 matrices from number `first` of the box on: lanes 8 i .. 8 i + 7 hold
/// the rows of matrix i.
static Value getMatrixRow(DeviceBuilder &b, Value box, TileType tile,
                          int64_t first, int64_t halves, bool transposed) {
  Value lane = b.lane(), warp = b.warpInGroup();
  Value inner = b.bitAnd(lane, 7), matrix = b.add(b.shr(lane, 3), first);
  Value half = b.rem(matrix, halves), chunk = b.div(matrix, halves);
  Value row, column; // of the box; a column is 16 bytes wide
  if (transposed) {
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
  Value offset = b.add(b.mul(row, bytes), b.shl(b.bitXor(column, swizzle), 4));
  return b.atByte(box, offset);
}

Value moe::getGroupThread(DeviceBuilder &b) {
  return b.bitAnd(b.threadId(), 127);
}

ThreadChunk::ThreadChunk(DeviceBuilder &b) {
  Value thread = getGroupThread(b);
  row = b.shr(thread, 3);
  column = b.bitAnd(thread, 7);
}

// 16-byte column xor row mod 8.
Value ThreadChunk::getSwizzled(DeviceBuilder &b) const {
  Value swizzled = b.bitXor(column, b.bitAnd(row, 7));
  return b.add(b.shl(row, 7), b.shl(swizzled, 4));
}

Value moe::getConsumersPart(DeviceBuilder &b, Value base, int64_t offset,
                            Value consumer, int64_t bytes) {
  return b.atByte(base, b.add(b.mul(consumer, bytes), offset));
}

void moe::createGroupBarrier(DeviceBuilder &b, Value group) {
  NVVM::BarrierOp::create(b, Type(), group, b.i32(128),
                          NVVM::BarrierReductionAttr(), Value());
}

Value moe::isGroupLeader(DeviceBuilder &b) {
  return b.equal(getGroupThread(b), 0);
}

void moe::createStagingWait(DeviceBuilder &b, Value leader, Value group,
                            int64_t pending) {
  b.ifThen(leader, [&] {
    NVVM::CpAsyncBulkWaitGroupOp::create(b, pending, b.getUnitAttr());
  });
  createGroupBarrier(b, group);
}

void moe::createStagingHandover(DeviceBuilder &b, Value group) {
  createAsyncProxyFence(b);
  createGroupBarrier(b, group);
}

void moe::writeBox(DeviceBuilder &b, Value box, TileType tile,
                   ArrayRef<Value> matrices, int64_t halves, bool transposed) {
  auto layout = transposed ? NVVM::MMALayout::col : NVVM::MMALayout::row;
  auto shape = NVVM::LdStMatrixShapeAttr::get(b.getContext(), 8, 8);
  for (int64_t first = 0, step; !matrices.empty(); first += step) {
    int64_t count = matrices.size();
    step = count >= 4 ? 4 : count >= 2 ? 2 : 1;
    NVVM::StMatrixOp::create(
        b, getMatrixRow(b, box, tile, first, halves, transposed),
        matrices.take_front(step), layout, shape, NVVM::LdStMatrixEltType::B16);
    matrices = matrices.drop_front(step);
  }
}

void moe::storeBox(DeviceBuilder &b, Value map, Value box, TileType tile,
                   Value leader, Value column, Value row, Value count) {
  int64_t height = tile.getRows();
  Value live = b.min(count, height);
  b.ifThen(leader, [&] {
    b.ifThen(b.less(0, live), [&] {
      NVVM::CpAsyncBulkTensorSharedCTAToGlobalOp::create(
          b, map, box,
          ValueRange{column, b.sub(height, live), b.add(row, live)}, Value(),
          NVVM::TMAStoreMode::TILE, Value());
    });
    NVVM::CpAsyncBulkCommitGroupOp::create(b);
  });
}

namespace {
struct StagingPattern : OpConversionPattern<StagingOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(StagingOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    DeviceBuilder b(op.getLoc(), rewriter);
    StagingType type = op.getStaging().getType();
    int64_t bytes = type.getBuffers() * type.getBox().getBytes();
    rewriter.replaceOp(op,
                       getConsumersPart(b, adaptor.getBase(), op.getOffset(),
                                        adaptor.getConsumer(), bytes));
    return success();
  }
};

/// Packs neighbours to bf16x2, writes them by stmatrix into a swizzled box, and
/// lets one thread hand each box to TMA.
struct StoreTilePattern : FragmentEffectPattern<StoreTileOp> {
  using EffectPattern::EffectPattern;
  void lower(StoreTileOp op, Adaptor adaptor, DeviceBuilder &b) const override {
    StagingType staging = op.getStaging().getType();
    TileType tile = staging.getBox();
    bool transposed = op.getTransposed();
    int64_t halves = FragmentLayout(op.getFragment().getType()).getHalves();
    Value leader = isGroupLeader(b), group = b.warpgroup();
    ValueRange values = adaptor.getFragment();
    int64_t perBox = values.size() / op.getBoxes();
    for (int64_t i = 0; i < op.getBoxes(); ++i) {
      SmallVector<Value> pairs;
      for (int64_t reg = i * perBox; reg < (i + 1) * perBox; reg += 2)
        pairs.push_back(createBF16Pair(b, values[reg], values[reg + 1]));
      createStagingWait(b, leader, group, staging.getBuffers() - 1);
      Value buffer = b.atByte(adaptor.getStaging().front(),
                              i % staging.getBuffers() * tile.getBytes());
      writeBox(b, buffer, tile, pairs, halves, transposed);
      createStagingHandover(b, group);
      Value column = adaptor.getColumn().front(),
            row = adaptor.getRow().front();
      Value count = adaptor.getCount().front();
      if (transposed) {
        row = b.add(row, i * tile.getRows());
        count = b.sub(count, i * tile.getRows());
      } else {
        column = b.add(column, i * tile.getColumns());
      }
      storeBox(b, adaptor.getMap().front(), buffer, tile, leader, column, row,
               count);
    }
  }
};

struct DrainStoresPattern : EffectPattern<DrainStoresOp> {
  using EffectPattern::EffectPattern;
  void lower(DrainStoresOp, Adaptor, DeviceBuilder &b) const override {
    b.ifThen(isGroupLeader(b),
             [&] { NVVM::CpAsyncBulkWaitGroupOp::create(b, 0, UnitAttr()); });
  }
};
} // namespace

void moe::populateStorePatterns(const TypeConverter &converter,
                                RewritePatternSet &patterns) {
  patterns.add<StagingPattern, StoreTilePattern, DrainStoresPattern>(
      converter, patterns.getContext());
}
