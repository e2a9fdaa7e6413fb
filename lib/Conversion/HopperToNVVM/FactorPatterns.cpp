// Factors beside the stages of a ring.
#include "Patterns.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace moe;
using namespace moe::hopper;

/// The factors of a stage.
static Value getFactors(DeviceBuilder &b, FactorsType type, Value base,
                        Value position) {
  return b.atByte(base,
                  b.mul(getStage(b, type, position), type.getStageBytes()));
}

namespace {
struct WriteFactorPattern : EffectPattern<WriteFactorOp> {
  using EffectPattern::EffectPattern;
  void lower(WriteFactorOp op, Adaptor adaptor,
             DeviceBuilder &b) const override {
    Value stage = getFactors(b, op.getFactors().getType(), adaptor.getFactors(),
                             adaptor.getPosition());
    b.store(adaptor.getValue(), b.atByte(stage, b.shl(adaptor.getIndex(), 2)));
  }
};

struct ReadFactorPattern : OpConversionPattern<ReadFactorOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(ReadFactorOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    DeviceBuilder b(op.getLoc(), rewriter);
    FactorsType type = op.getFactors().getType();
    Value stage =
        getFactors(b, type, adaptor.getFactors(), adaptor.getPosition());
    Value at = b.add(b.shl(adaptor.getIndex(), 2), 4 * type.getColumns());
    rewriter.replaceOp(op, b.load(b.getF32Type(), b.atByte(stage, at)));
    return success();
  }
};

/// A thread's neighbouring columns come together.
struct ApplyFactorsPattern : OpConversionPattern<ApplyFactorsOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(ApplyFactorsOp op, OneToNOpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    DeviceBuilder b(op.getLoc(), rewriter);
    FragmentType type = op.getFragment().getType();
    FragmentLayout layout(type);
    Value mine =
        getFactors(b, op.getFactors().getType(), adaptor.getFactors().front(),
                   adaptor.getPosition().front());
    mine = b.atByte(mine, b.shl(b.bitAnd(b.lane(), 3), 3));
    SmallVector<Value> weights;
    for (ValueRange weight : adaptor.getWeights())
      weights.push_back(weight.front());
    auto pair = VectorType::get(2, b.getF32Type());
    SmallVector<Value> results(adaptor.getFragment());
    int64_t perChunk = 2 * layout.getHalves();
    for (int64_t chunk = 0; chunk < type.getColumns() / 8; ++chunk) {
      Value both = b.load(pair, b.atByte(mine, 32 * chunk), 8);
      for (int64_t neighbour : {0, 1}) {
        Value column =
            LLVM::ExtractElementOp::create(b, both, b.i32(neighbour));
        SmallVector<Value> factors;
        for (Value weight : weights)
          factors.push_back(arith::MulFOp::create(b, column, weight));
        for (int64_t half = 0; half < layout.getHalves(); ++half) {
          Value &value = results[perChunk * chunk + 2 * half + neighbour];
          value =
              arith::MulFOp::create(b, value, factors[half % factors.size()]);
        }
      }
    }
    rewriter.replaceOpWithMultiple(op, {results});
    return success();
  }
};
} // namespace

void moe::populateFactorPatterns(const TypeConverter &converter,
                                 RewritePatternSet &patterns) {
  patterns.add<PlacementPattern<FactorsOp>, WriteFactorPattern,
               ReadFactorPattern, ApplyFactorsPattern>(converter,
                                                       patterns.getContext());
}
