// Tiles that several CTAs share along K: tickets, parts and their sum.
#include "Patterns.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace moe;
using namespace moe::hopper;

/// Registers that a thread stores at once.
static constexpr int64_t quad = 4;
static constexpr int64_t groupThreads = 128;

/// The barrier of a warpgroup, which tells all whether any thread's word is not
/// zero.  Inline: nvvm's op has reductions for barrier 0 only.
static Value meetAndAsk(DeviceBuilder &b, Value group, Value word) {
  std::string text = "{\n.reg .pred p, q;\nsetp.ne.b32 p, $2, 0;\n"
                     "barrier.red.or.pred q, $1, " +
                     std::to_string(groupThreads) +
                     ", p;\nselp.b32 $0, 1, 0, q;\n}";
  return b.assembly(b.getI32Type(), {group, word}, text, "=r,r,r,~{memory}");
}

/// Where this thread's first four registers of a part lie; the next four are
/// behind those of all threads.
static Value getPart(DeviceBuilder &b, Value parts, Value number,
                     int64_t registers) {
  Value wide = arith::ExtUIOp::create(b, b.getI64Type(), number);
  Value offset =
      arith::MulIOp::create(b, wide, b.i64(registers * groupThreads * 4));
  Value thread = b.mul(b.bitAnd(b.threadId(), groupThreads - 1), 4 * quad);
  return b.atByte(b.atByte(b.toGlobal(parts), offset), thread);
}

static Value getQuad(DeviceBuilder &b, Value part, int64_t index) {
  return b.atByte(part, index * groupThreads * 4 * quad);
}

namespace {
struct CountTilesPattern : OpConversionPattern<CountTilesOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(CountTilesOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    DeviceBuilder b(op.getLoc(), rewriter);
    Type i32 = b.getI32Type();
    int64_t experts = op.getExperts();
    auto offset = [&](Value expert) {
      return b.load(i32, b.atElement(adaptor.getOffsets(), i32, expert));
    };
    Value lane = b.lane();
    SmallVector<Value> mine =
        b.loop(0, llvm::divideCeil(experts, 32), {b.i32(0)},
               [&](Value round, ValueRange sum) -> SmallVector<Value> {
                 // Lanes behind the last expert count its end twice: no rows.
                 Value expert = b.add(b.mul(round, 32), lane);
                 Value begin = offset(b.min(expert, experts));
                 Value end = offset(b.min(b.add(expert, 1), experts));
                 Value tiles = b.ceilDiv(b.sub(end, begin), op.getTileRows());
                 return {b.add(sum[0], tiles)};
               });
    Value all =
        NVVM::ReduxOp::create(b, i32, mine[0], NVVM::ReduxKind::ADD, b.i32(-1));
    int64_t columnTiles =
        llvm::divideCeil(op.getColumns(), op.getTileColumns());
    rewriter.replaceOp(op, b.mul(all, columnTiles));
    return success();
  }
};

struct DrawTicketPattern : OpConversionPattern<DrawTicketOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(DrawTicketOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    DeviceBuilder b(op.getLoc(), rewriter);
    rewriter.replaceOp(op,
                       b.countUp(b.toGlobal(adaptor.getCounter()), "relaxed"));
    return success();
  }
};

struct StorePartPattern : FragmentEffectPattern<StorePartOp> {
  using EffectPattern::EffectPattern;
  void lower(StorePartOp, Adaptor adaptor, DeviceBuilder &b) const override {
    ValueRange values = adaptor.getFragment();
    Value part = getPart(b, adaptor.getParts().front(),
                         adaptor.getNumber().front(), values.size());
    Type quadType = VectorType::get(quad, b.getF32Type());
    for (size_t i = 0; i < values.size(); i += quad) {
      Value four = LLVM::UndefOp::create(b, quadType);
      for (int64_t j = 0; j < quad; ++j)
        four = LLVM::InsertElementOp::create(b, four, values[i + j], b.i32(j));
      b.store(four, getQuad(b, part, i / quad), 4 * quad);
    }
  }
};

/// The barriers around the leader's addition extend its order to the parts of
/// all threads, before and after.
struct ArrivePartPattern : OpConversionPattern<ArrivePartOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(ArrivePartOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    DeviceBuilder b(op.getLoc(), rewriter);
    Type i32 = b.getI32Type();
    Value group = b.warpgroup();
    createGroupBarrier(b, group);
    Value counter = b.toGlobal(
        b.atElement(adaptor.getCounters(), i32, adaptor.getNumber()));
    Value leader = b.equal(b.bitAnd(b.threadId(), groupThreads - 1), 0);
    auto arrival = scf::IfOp::create(b, TypeRange{i32}, leader,
                                     /*withElseRegion=*/true);
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(arrival.thenBlock());
      Value before = b.countUp(counter, "acq_rel");
      Value isLast = b.equal(before, op.getCount() - 1);
      b.ifThen(isLast, [&] { b.store(b.i32(0), counter); });
      scf::YieldOp::create(b,
                           ValueRange{arith::ExtUIOp::create(b, i32, isLast)});
      b.setInsertionPointToStart(arrival.elseBlock());
      scf::YieldOp::create(b, ValueRange{b.i32(0)});
    }
    Value any = meetAndAsk(b, group, arrival.getResult(0));
    rewriter.replaceOp(op, b.less(0, b.uniform(any)));
    return success();
  }
};

struct SumPartsPattern : OpConversionPattern<SumPartsOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(SumPartsOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    DeviceBuilder b(op.getLoc(), rewriter);
    FragmentType type = op.getFragment().getType();
    int64_t registers = FragmentLayout(type).getRegisters();
    Type f32 = b.getF32Type(), quadType = VectorType::get(quad, f32);
    auto load = [&](Value number) {
      Value part = getPart(b, adaptor.getParts(), number, registers);
      SmallVector<Value> values;
      for (int64_t i = 0; i < registers; i += quad) {
        Value four = b.load(quadType, getQuad(b, part, i / quad), 4 * quad);
        for (int64_t j = 0; j < quad; ++j)
          values.push_back(LLVM::ExtractElementOp::create(b, four, b.i32(j)));
      }
      return values;
    };
    SmallVector<Value> sums =
        b.loop(1, op.getCount(), load(adaptor.getFirst()),
               [&](Value i, ValueRange before) -> SmallVector<Value> {
                 SmallVector<Value> after;
                 for (auto [sum, part] :
                      llvm::zip(before, load(b.add(adaptor.getFirst(), i))))
                   after.push_back(arith::AddFOp::create(b, sum, part));
                 return after;
               });
    rewriter.replaceOpWithMultiple(op, {sums});
    return success();
  }
};
} // namespace

void moe::populateSplitPatterns(const TypeConverter &converter,
                                RewritePatternSet &patterns) {
  patterns.add<CountTilesPattern, DrawTicketPattern, StorePartPattern,
               ArrivePartPattern, SumPartsPattern>(converter,
                                                   patterns.getContext());
}
