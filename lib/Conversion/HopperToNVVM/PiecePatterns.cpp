// A fragment column by column: what it is cut into, and the way of a piece to
// the output.
#include "Patterns.h"

#include "moe/Codegen/ScalarMath.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace moe;
using namespace moe::hopper;

/// Where in a part's registers packed value `number` is, of `count` in
/// `registers`.  One stmatrix takes four that follow one another; they lie
/// where the first of the values were that they are made from.
static int64_t getPackedRegister(int64_t number, int64_t count,
                                 int64_t registers) {
  return number / 4 * 4 * (registers / count) + number % 4;
}

namespace {
struct TakeColumnsPattern : OpConversionPattern<TakeColumnsOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(TakeColumnsOp op, OneToNOpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    FragmentType type = op.getResult().getType();
    int64_t first =
        FragmentLayout(type.getRows(), op.getFirst()).getRegisters();
    rewriter.replaceOpWithMultiple(
        op, {adaptor.getFragment().slice(first,
                                         FragmentLayout(type).getRegisters())});
    return success();
  }
};

struct JoinColumnsPattern : OpConversionPattern<JoinColumnsOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(JoinColumnsOp op, OneToNOpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    SmallVector<Value> all;
    for (ValueRange part : adaptor.getParts())
      llvm::append_range(all, part);
    rewriter.replaceOpWithMultiple(op, {all});
    return success();
  }
};

struct PackOverPattern : OpConversionPattern<PackOverOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(PackOverOp op, OneToNOpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    DeviceBuilder b(op.getLoc(), rewriter);
    ValueRange values = adaptor.getValues();
    SmallVector<Value> registers(adaptor.getPart());
    int64_t count = values.size() / 2;
    for (int64_t i = 0; i < count; ++i) {
      Value pair = createBF16Pair(b, values[2 * i], values[2 * i + 1]);
      registers[getPackedRegister(i, count, registers.size())] =
          b.toFloat(pair);
    }
    rewriter.replaceOpWithMultiple(op, {registers});
    return success();
  }
};

struct AcquireStagingPattern : EffectPattern<AcquireStagingOp> {
  using EffectPattern::EffectPattern;
  void lower(AcquireStagingOp, Adaptor, DeviceBuilder &b) const override {
    createStagingWait(b, isGroupLeader(b), b.warpgroup(), /*pending=*/0);
  }
};

struct WriteStagingPattern : FragmentEffectPattern<WriteStagingOp> {
  using EffectPattern::EffectPattern;
  void lower(WriteStagingOp op, Adaptor adaptor,
             DeviceBuilder &b) const override {
    TileType box = op.getStaging().getType().getBox();
    FragmentLayout layout(box.getColumns(),
                          op.getPacked().getType().getColumns());
    ValueRange registers = adaptor.getPacked();
    int64_t count = layout.getRegisters() / 2;
    SmallVector<Value> matrices;
    for (int64_t i = 0; i < count; ++i)
      matrices.push_back(
          b.toBits(registers[getPackedRegister(i, count, registers.size())]));
    // The swizzle repeats every eight rows, so what depends on the lane is the
    // same for all columns and buffers.
    int64_t offset =
        op.getBuffer() * box.getBytes() + op.getFirst() * box.getRowBytes();
    writeBox(b, b.atByte(adaptor.getStaging().front(), offset), box, matrices,
             layout.getHalves(), /*transposed=*/true);
  }
};

struct SendStagingPattern : EffectPattern<SendStagingOp> {
  using EffectPattern::EffectPattern;
  void lower(SendStagingOp op, Adaptor adaptor,
             DeviceBuilder &b) const override {
    TileType box = op.getStaging().getType().getBox();
    createStagingHandover(b, b.warpgroup());
    Value leader = isGroupLeader(b);
    for (int64_t i = 0; i < static_cast<int64_t>(op.getBoxes()); ++i)
      storeBox(b, adaptor.getMap(),
               b.atByte(adaptor.getStaging(), i * box.getBytes()), box, leader,
               b.add(adaptor.getColumn(), i * box.getColumns()),
               adaptor.getRow(), adaptor.getCount());
  }
};
} // namespace

void moe::populatePiecePatterns(const TypeConverter &converter,
                                RewritePatternSet &patterns) {
  patterns.add<TakeColumnsPattern, JoinColumnsPattern, PackOverPattern,
               AcquireStagingPattern, WriteStagingPattern, SendStagingPattern>(
      converter, patterns.getContext());
}
