// Accumulators and fragments: products, the wait, epilogues.
#include "Patterns.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace moe;
using namespace moe::hopper;

/// The values of a struct that assembly gives.
static SmallVector<Value> unpackStruct(DeviceBuilder &b, Value values) {
  SmallVector<Value> all;
  auto type = cast<LLVM::LLVMStructType>(values.getType());
  for (unsigned i = 0; i < type.getBody().size(); ++i)
    all.push_back(LLVM::ExtractValueOp::create(b, values, i));
  return all;
}

Value moe::getCoordinate(DeviceBuilder &b, ThreadCoordinate at) {
  Value sum = b.mul(b.warpInGroup(), at.warpScale);
  sum = b.add(sum, b.mul(b.shr(b.lane(), 2), at.quadScale));
  sum = b.add(sum, b.mul(b.bitAnd(b.lane(), 3), at.laneScale));
  return b.add(sum, at.constant);
}

/// Constraints of assembly that takes its first `count` operands, f32, in the
/// registers of its results.
static std::string redefineRegisters(size_t count) {
  std::string outs, ins;
  for (size_t i = 0; i < count; ++i) {
    outs += "=f,";
    ins += (i ? "," : "") + std::to_string(i);
  }
  return outs + ins;
}

/// Assembly whose first `count` operands, f32, are its results' registers.
static SmallVector<Value> redefine(DeviceBuilder &b, size_t count,
                                   ValueRange operands, StringRef text,
                                   StringRef constraints) {
  Type type = LLVM::LLVMStructType::getLiteral(
      b.getContext(), SmallVector<Type>(count, b.getF32Type()));
  return unpackStruct(b, b.assembly(type, operands, text, constraints));
}

namespace {
/// Descriptor of a K-major operand: address / 16, 128-byte swizzle, 8-row
/// groups 1024 bytes apart. 32 bytes of a row are one wgmma step.
struct MmaPattern : OpConversionPattern<MmaOp> {
  using OpConversionPattern::OpConversionPattern;

  static Value getDescriptor(DeviceBuilder &b, Value low) {
    Value wide = arith::ExtUIOp::create(b, b.getI64Type(), low);
    uint64_t fixed = 1ull << 62 | 64ull << 32 | 1ull << 16;
    return arith::OrIOp::create(b, wide, b.i64(fixed));
  }

  /// The products of all steps of a stage in one piece of assembly: nvvm's op
  /// is one step, so that every accumulator would be given out and taken in
  /// again between them, most of LLVM's work on a kernel.  The first step drops
  /// what the accumulators hold where `scale`, a number or an operand, is 0.
  static std::string getProducts(unsigned count, int64_t steps, StringRef scale,
                                 int64_t columns, bool isBF16) {
    auto operand = [](unsigned number) { return "$" + std::to_string(number); };
    std::string registers =
        llvm::join(llvm::map_range(llvm::seq(count), operand), ", ");
    StringRef type = isBF16 ? "bf16" : "e4m3";
    std::string text;
    llvm::raw_string_ostream stream(text);
    stream << "{\n.reg .pred first, more;\nsetp.ne.b32 more, 1, 0;\n"
           << "setp.ne.b32 first, " << scale << ", 0;\n";
    for (int64_t step = 0; step < steps; ++step)
      stream << "wgmma.mma_async.sync.aligned.m64n" << columns << "k"
             << (isBF16 ? 16 : 32) << ".f32." << type << "." << type << " {"
             << registers << "}, " << operand(2 * count + 2 * step) << ", "
             << operand(2 * count + 2 * step + 1) << ", "
             << (step ? "more" : "first") << ", 1, 1"
             << (isBF16 ? ", 0, 0" : "") << ";\n";
    stream << "}";
    return text;
  }

  LogicalResult
  matchAndRewrite(MmaOp op, OneToNOpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    DeviceBuilder b(op.getLoc(), rewriter);
    RingType ring = op.getRing().getType();
    TileType lhsTile = ring.getTiles()[op.getLhs()];
    Value stage = getStage(b, ring, adaptor.getPosition().front());
    Value base = b.shr(
        LLVM::PtrToIntOp::create(b, b.getI32Type(), adaptor.getRing().front()),
        4);
    auto start = [&](int64_t tile) {
      int64_t bytes = ring.getTiles()[tile].getBytes();
      Value at = b.add(base, ring.getTileOffset(tile) / 16);
      return b.add(at, b.mul(stage, bytes / 16));
    };
    Value lhs =
        b.add(start(op.getLhs()), b.mul(adaptor.getRow().front(), 128 / 16));
    Value rhs = start(op.getRhs());
    if (op.getFirst())
      rhs = b.add(rhs, op.getFirst() * (128 / 16));
    AccumulatorType type = op.getResult().getType();
    int64_t columns = op.getColumns().value_or(type.getColumns());
    unsigned count = FragmentLayout(type.getRows(), columns).getRegisters();
    ValueRange acc = adaptor.getAcc();
    SmallVector<Value> operands(op.getAcc() ? acc.take_front(count) : acc);
    std::string scale = op.getAcc() ? "1" : "0";
    if (!op.getAcc())
      operands.assign(count, LLVM::UndefOp::create(b, b.getF32Type()));
    int64_t steps = lhsTile.getRowBytes() / 32;
    if (op.getStep()) {
      steps = *op.getGroup();
      Value first = b.mul(adaptor.getStep().front(), 2 * steps);
      lhs = b.add(lhs, first);
      rhs = b.add(rhs, first);
    }
    for (int64_t step = 0; step < steps; ++step) {
      operands.push_back(getDescriptor(b, b.add(lhs, 2 * step)));
      operands.push_back(getDescriptor(b, b.add(rhs, 2 * step)));
    }
    std::string constraints = redefineRegisters(count);
    for (int64_t i = 0; i < 2 * steps; ++i)
      constraints += ",l";
    if (op.getUnless()) {
      Value unless = adaptor.getUnless().front();
      scale = "$" + std::to_string(count + operands.size());
      operands.push_back(arith::ExtUIOp::create(b, b.getI32Type(), unless));
      constraints += ",r";
    }
    NVVM::WgmmaFenceAlignedOp::create(b);
    SmallVector<Value> sums =
        redefine(b, count, operands,
                 getProducts(count, steps, scale, columns,
                             lhsTile.getElementType().isBF16()),
                 constraints);
    NVVM::WgmmaGroupSyncAlignedOp::create(b);
    if (op.getColumns())
      llvm::append_range(sums, acc.drop_front(count));
    rewriter.replaceOpWithMultiple(op, {sums});
    return success();
  }
};

struct MmaThrottlePattern : EffectPattern<MmaThrottleOp> {
  using EffectPattern::EffectPattern;
  void lower(MmaThrottleOp op, Adaptor, DeviceBuilder &b) const override {
    NVVM::WgmmaWaitGroupSyncOp::create(b, op.getPending());
  }
};

/// Inline assembly that takes and redefines every accumulator: nvvm's own wait
/// has no operands, so reads could move above it.
struct MmaWaitPattern : OpConversionPattern<MmaWaitOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(MmaWaitOp op, OneToNOpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    DeviceBuilder b(op.getLoc(), rewriter);
    SmallVector<Value> all;
    for (ValueRange acc : adaptor.getAcc())
      llvm::append_range(all, acc);
    all = redefine(b, all.size(), all, "wgmma.wait_group.sync.aligned 0;",
                   redefineRegisters(all.size()));
    SmallVector<ValueRange> fragments;
    ValueRange rest = all;
    for (ValueRange acc : adaptor.getAcc()) {
      fragments.push_back(rest.take_front(acc.size()));
      rest = rest.drop_front(acc.size());
    }
    rewriter.replaceOpWithMultiple(op, fragments);
    return success();
  }
};

struct LoadSlicePattern : OpConversionPattern<LoadSliceOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(LoadSliceOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    DeviceBuilder b(op.getLoc(), rewriter);
    SliceType type = op.getSlice().getType();
    FragmentLayout layout(type.getRows(), type.getColumns());
    Value last = b.sub(adaptor.getCount(), 1);
    Value base = b.toGlobal(adaptor.getBase());
    SmallVector<Value> values;
    for (int64_t i = 0; i < layout.getSliceValues(type.getAxis()); ++i) {
      int64_t reg = layout.getFirstRegister(type.getAxis(), i);
      Value at = getCoordinate(b, type.getAxis() == Axis::Rows
                                      ? layout.getRow(reg)
                                      : layout.getColumn(reg));
      Value index = b.add(adaptor.getFirst(), b.min(at, last));
      values.push_back(
          b.load(b.getF32Type(), b.atElement(base, b.getF32Type(), index)));
    }
    rewriter.replaceOpWithMultiple(op, {values});
    return success();
  }
};

/// One copy of the region per register of the result.
struct EpiloguePattern : OpConversionPattern<EpilogueOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(EpilogueOp op, OneToNOpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    DeviceBuilder b(op.getLoc(), rewriter);
    FragmentLayout in(op.getFragment().getType());
    FragmentLayout out(op.getResult().getType());
    ValueRange elements = adaptor.getFragment();
    ArrayRef<ValueRange> slices = adaptor.getSlices();
    Block &body = op.getBody().front();
    auto yield = cast<YieldOp>(body.getTerminator());
    SmallVector<Value> results;
    for (int64_t reg = 0; reg < out.getRegisters(); ++reg) {
      std::pair<int64_t, int64_t> source = {reg, reg};
      if (op.getPair())
        source = in.getPair(*op.getPair(), reg);
      SmallVector<Value> arguments{elements[source.first]};
      if (op.getPair())
        arguments.push_back(elements[source.second]);
      for (auto [slice, values] : llvm::zip(op.getSlices(), slices)) {
        Axis axis = cast<SliceType>(slice.getType()).getAxis();
        arguments.push_back(values[in.getSliceValue(axis, source.first)]);
      }
      IRMapping mapping;
      mapping.map(body.getArguments(), arguments);
      for (Operation &inner : body.without_terminator())
        b.clone(inner, mapping);
      results.push_back(mapping.lookupOrDefault(yield.getValue()));
    }
    rewriter.replaceOpWithMultiple(op, {results});
    return success();
  }
};
} // namespace

void moe::populateTilePatterns(const TypeConverter &converter,
                               RewritePatternSet &patterns) {
  patterns.add<MmaPattern, MmaThrottlePattern, MmaWaitPattern, LoadSlicePattern,
               EpiloguePattern>(converter, patterns.getContext());
}
