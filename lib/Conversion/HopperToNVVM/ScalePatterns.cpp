// Products of quantised operands: partial sums that scales meet, fragments in
// other units, and stores that quantise.
#include "Patterns.h"

#include "moe/Codegen/ScalarMath.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace moe;
using namespace moe::hopper;

static Axis axisOf(ValueRange slices) {
  return cast<SliceType>(slices.front().getType()).getAxis();
}

namespace {
/// Which value of which slice each element of a fragment meets.
class Units {
public:
  Units(FragmentType type, Axis axis, ArrayRef<ValueRange> slices,
        std::optional<Axis> alternate)
      : layout(type), axis(axis), alternate(alternate), values(slices) {}

  /// The number of a register's unit among all, and its value.
  int64_t number(int64_t reg) const {
    int64_t slice = 0;
    if (alternate) {
      ThreadCoordinate at =
          *alternate == Axis::Rows ? layout.getRow(reg) : layout.getColumn(reg);
      slice = at.constant / 8 % 2;
    } else if (values.size() > 1) {
      slice = layout.getColumn(reg).constant / 128;
    }
    return slice * values.front().size() + layout.getSliceValue(axis, reg);
  }
  Value get(int64_t number) const {
    int64_t each = values.front().size();
    return values[number / each][number % each];
  }

private:
  FragmentLayout layout;
  Axis axis;
  std::optional<Axis> alternate;
  SmallVector<ValueRange> values;
};

struct ScaleSlicePattern : OpConversionPattern<ScaleSliceOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(ScaleSliceOp op, OneToNOpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    DeviceBuilder b(op.getLoc(), rewriter);
    SmallVector<Value> values(adaptor.getSlice());
    for (Value &value : values)
      value = arith::MulFOp::create(b, value, adaptor.getFactor().front());
    rewriter.replaceOpWithMultiple(op, {values});
    return success();
  }
};

struct ZeroFragmentPattern : OpConversionPattern<ZeroFragmentOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(ZeroFragmentOp op, OpAdaptor,
                  ConversionPatternRewriter &rewriter) const override {
    DeviceBuilder b(op.getLoc(), rewriter);
    FragmentType type = op.getFragment().getType();
    SmallVector<Value> zeros(FragmentLayout(type).getRegisters(), b.f32(0.0f));
    rewriter.replaceOpWithMultiple(op, {zeros});
    return success();
  }
};

struct MmaResumePattern : OpConversionPattern<MmaResumeOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(MmaResumeOp op, OneToNOpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    rewriter.replaceOpWithMultiple(op, {adaptor.getFragment()});
    return success();
  }
};

struct PromotePattern : OpConversionPattern<PromoteOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(PromoteOp op, OneToNOpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    DeviceBuilder b(op.getLoc(), rewriter);
    FragmentType type = op.getPartial().getType();
    Units units(type, axisOf(op.getUnits()), adaptor.getUnits(),
                op.getAlternate());
    // Eight columns are 2 * halves registers; they follow each other.
    int64_t first = op.getFirst() / 8 * 2 * FragmentLayout(type).getHalves();
    SmallVector<Value> sums(adaptor.getSum());
    for (auto [reg, value] : llvm::enumerate(adaptor.getPartial())) {
      Value &sum = sums[first + reg];
      sum = LLVM::FMAOp::create(b, value, units.get(units.number(reg)), sum);
    }
    rewriter.replaceOpWithMultiple(op, {sums});
    return success();
  }
};

struct RescalePattern : OpConversionPattern<RescaleOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(RescaleOp op, OneToNOpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    DeviceBuilder b(op.getLoc(), rewriter);
    FragmentType type = op.getFragment().getType();
    Axis axis = axisOf(op.getFrom());
    Units from(type, axis, adaptor.getFrom(), op.getAlternate());
    Units to(type, axis, adaptor.getTo(), op.getAlternate());
    Value least = b.f32(1e-20f);
    auto bounded = [&](const Units &units, int64_t number) {
      return arith::MaximumFOp::create(b, units.get(number), least).getResult();
    };
    DenseMap<int64_t, Value> ratios;
    SmallVector<Value> results;
    for (auto [reg, value] : llvm::enumerate(adaptor.getFragment())) {
      int64_t number = from.number(reg);
      Value &ratio = ratios[number];
      if (!ratio) {
        ratio = bounded(from, number);
        if (!op.getTo().empty())
          ratio = arith::MulFOp::create(
              b, ratio,
              NVVM::RcpApproxFtzF32Op::create(b, b.getF32Type(),
                                              bounded(to, number)));
      }
      results.push_back(arith::MulFOp::create(b, value, ratio));
    }
    rewriter.replaceOpWithMultiple(op, {results});
    return success();
  }
};

/// A row's 128 elements stand in four lanes, 32 in each.
struct StoreQuantizedPattern : FragmentEffectPattern<StoreQuantizedOp> {
  using EffectPattern::EffectPattern;

  /// Zero where the output has no such column: weight rows of the next expert
  /// must not meet the scale.
  static void dropColumns(DeviceBuilder &b, FragmentLayout layout, Value column,
                          int64_t columns, MutableArrayRef<Value> values) {
    if (columns % 128 == 0)
      return;
    Value zero = b.f32(0.0f);
    for (auto [reg, value] : llvm::enumerate(values)) {
      Value at = b.add(column, getCoordinate(b, layout.getColumn(reg)));
      value = arith::SelectOp::create(b, b.less(at, columns), value, zero);
    }
  }

  /// The 8x8 matrices of two-byte elements that hold the codes.  A thread has
  /// columns 2 j and 2 j + 1 of each eight, and gives stmatrix columns 4 j .. 4
  /// j + 3 of sixteen: lanes j = 0, 1 get those of the first eight, j = 2, 3 of
  /// the second.
  static SmallVector<Value> encode(DeviceBuilder &b, ArrayRef<Value> values,
                                   ArrayRef<Value> inverses) {
    Value lane = b.lane(), inQuad = b.bitAnd(lane, 3);
    Value source = b.add(b.sub(lane, inQuad), b.shl(b.bitAnd(inQuad, 1), 1));
    Value next = b.add(source, 1);
    Value second = b.less(1, inQuad);
    auto pair = [&](int64_t reg, Value inverse) {
      Value low = arith::MulFOp::create(b, values[reg], inverse);
      Value high = arith::MulFOp::create(b, values[reg + 1], inverse);
      return createE4M3Pair(b, low, high);
    };
    SmallVector<Value> matrices;
    for (int64_t sixteen = 0; sixteen < 8; ++sixteen)
      for (int64_t half = 0; half < 2; ++half) {
        int64_t reg = 8 * sixteen + 2 * half;
        Value both = b.bitOr(pair(reg, inverses[half]),
                             b.shl(pair(reg + 4, inverses[half]), 16));
        Value low = b.fromLane(both, source);
        Value high = b.fromLane(both, next);
        Value ofFirst = b.bitOr(b.bitAnd(low, 0xFFFF), b.shl(high, 16));
        Value ofSecond = b.bitOr(b.shr(low, 16), b.bitAnd(high, 0xFFFF0000));
        matrices.push_back(b.select(second, ofSecond, ofFirst));
      }
    return matrices;
  }

  void lower(StoreQuantizedOp op, Adaptor adaptor,
             DeviceBuilder &b) const override {
    FragmentLayout layout(op.getFragment().getType());
    TileType tile = op.getStaging().getType().getBox();
    SmallVector<Value> values(adaptor.getFragment());
    Value column = adaptor.getColumn().front(), row = adaptor.getRow().front();
    Value count = adaptor.getCount().front();
    Value staging = adaptor.getStaging().front();
    dropColumns(b, layout, column, op.getColumns(), values);
    // Magnitudes order as integers do, NaN above all.
    SmallVector<Value> largest(2, b.i32(0)), inverses;
    for (auto [reg, value] : llvm::enumerate(values)) {
      Value &most = largest[layout.getSliceValue(Axis::Rows, reg)];
      most = b.max(most, b.bitAnd(b.toBits(value), 0x7FFFFFFF));
    }
    Value scales = b.toGlobal(adaptor.getScales().front());
    Value block = b.mul(b.shr(column, 7), adaptor.getPitch().front());
    Value owner = b.equal(b.bitAnd(b.lane(), 3), 0);
    for (auto [half, most] : llvm::enumerate(largest)) {
      for (int64_t distance : {1, 2})
        most = b.max(most, b.exchange(most, distance));
      QuantizedScale scale = createQuantizedScale(b, most);
      inverses.push_back(scale.inverse);
      Value at = getCoordinate(
          b, layout.getRow(layout.getFirstRegister(Axis::Rows, half)));
      b.ifThen(b.both(owner, b.less(at, count)), [&, value = scale.value] {
        Value index = b.add(block, b.add(row, at));
        b.store(value, b.atElement(scales, b.getF32Type(), index));
      });
    }
    SmallVector<Value> matrices = encode(b, values, inverses);
    Value leader = isGroupLeader(b), group = b.warpgroup();
    createStagingWait(b, leader, group, /*pending=*/0);
    writeBox(b, staging, tile, matrices, /*halves=*/2,
             /*transposed=*/false);
    createStagingHandover(b, group);
    storeBox(b, adaptor.getMap().front(), staging, tile, leader,
             b.shr(column, 1), row, count);
  }
};
} // namespace

void moe::populateScalePatterns(const TypeConverter &converter,
                                RewritePatternSet &patterns) {
  patterns.add<ZeroFragmentPattern, MmaResumePattern, ScaleSlicePattern,
               PromotePattern, RescalePattern, StoreQuantizedPattern>(
      converter, patterns.getContext());
}
