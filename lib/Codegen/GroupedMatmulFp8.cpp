// The tensor cores sum one block of 128 columns of x and w; its scales then
// meet the sum.  Either partial sums of one block are scaled and added to f32
// sums (promotion), or the sum so far is brought to the units of the next block
// before its products are added (rescaling).
#include "GroupedMatmulFp8.h"

#include "dialects/Hopper/HopperDialect.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace moe;
using namespace moe::hopper;

/// Columns of a partial sum: 64 registers beside the 128 of a whole fragment.
static constexpr int64_t partColumns = 128;

using ErrorFn = function_ref<InFlightDiagnostic()>;

static LogicalResult verifyScaledTails(const GroupedMatmulSpec &spec,
                                       ErrorFn emitError) {
  if (!spec.rescale)
    return emitError() << "fp8 tile with tails has partial sums, expected "
                          "rescaled ones";
  if (!llvm::is_contained({128, 256}, spec.tileWeights))
    return emitError() << "fp8 tile with tails has " << spec.tileWeights
                       << " weight rows, expected 128 or 256";
  if (spec.cluster != 1)
    return emitError() << "fp8 tile with tails in clusters of " << spec.cluster
                       << " CTAs, expected 1";
  if (spec.quantize)
    return emitError() << "fp8 tile with tails quantizes its output, expected "
                          "bf16";
  // Addresses and scales of rows take registers from those who multiply.
  int64_t most = 160 * 256 / spec.tileWeights;
  if (spec.gather && spec.tileTokens > most)
    return emitError() << "gathered fp8 tile with tails has " << spec.tileTokens
                       << " tokens, expected at most "
                       << std::min<int64_t>(most, 256) << " for "
                       << spec.tileWeights << " weight rows";
  return success();
}

LogicalResult moe::verifyScaled(const GroupedMatmulSpec &spec,
                                ErrorFn emitError) {
  if (!spec.fp8) {
    if (spec.quantize || spec.rescale || spec.inTurn)
      return emitError() << (spec.quantize  ? "quantize"
                             : spec.rescale ? "rescale"
                                            : "turns")
                         << " without fp8 operands, expected fp8 with it";
    return success();
  }
  if (spec.inTurn && (!spec.rescale || spec.skipDead))
    return emitError() << "consumers take turns with "
                       << (spec.rescale ? "dead rows that are skipped"
                                        : "partial sums")
                       << ", expected rescaled ones and no row skipped";
  if (spec.tails)
    return verifyScaledTails(spec, emitError);
  if (spec.gather)
    return emitError() << "fp8 with gathered rows is not generated without "
                          "tails, expected rows in order";
  if (spec.swap && (spec.tileTokens > 64 || spec.rescale))
    return emitError() << "swapped fp8 tile "
                       << (spec.rescale ? "is rescaled"
                                        : "has more than 64 tokens")
                       << ", expected partial sums of 8, 16, 32 or 64 tokens";
  if (!spec.swap && !llvm::is_contained({128, 256}, spec.tileWeights))
    return emitError() << "fp8 tile has " << spec.tileWeights
                       << " weight rows, expected 128 or 256";
  if (!spec.quantize)
    return success();
  if (!spec.isPaired() || spec.swap || spec.tileWeights != 256)
    return emitError() << "quantized output of a tile without whole blocks of "
                          "128 columns, expected swiglu and 256 weight rows "
                          "without swap";
  if (spec.n % 32)
    return emitError() << "n is " << spec.n
                       << ", but a row of quantized output must be a multiple "
                          "of 16 bytes; pad n to "
                       << llvm::alignTo(spec.n, 32);
  return success();
}

namespace {
class Multiplier {
public:
  Multiplier(DeviceBuilder &b, const ScaledProduct &product,
             const ScaledTile &tile)
      : b(b), spec(product.spec), product(product), tile(tile) {
    kBlocks = llvm::divideCeil(spec.k, scaleBlock);
    columns = spec.swap ? spec.tileTokens : spec.tileWeights;
    parts = spec.swap || spec.rescale ? 1 : columns / partColumns;
    partType = FragmentType::get(b.getContext(), wgmmaRows, columns / parts);
    accType = AccumulatorType::get(b.getContext(), wgmmaRows, columns / parts);
    sumType = FragmentType::get(b.getContext(), wgmmaRows, columns);
    Axis tokens = spec.swap ? Axis::Columns : Axis::Rows;
    sliceType = SliceType::get(b.getContext(), tokens, partType.getRows(),
                               partType.getColumns());
    if (spec.isPaired())
      alternate =
          AxisAttr::get(b.getContext(), spec.swap ? Axis::Rows : Axis::Columns);
    findWeightScales();
  }

  Value promote();
  Value rescale();

private:
  void findWeightScales();
  SmallVector<Value> load(Value block);
  SmallVector<Value> multiplyScales(ValueRange scales);
  ValueRange unitsOf(ValueRange units, int64_t part) {
    return spec.isPaired() || parts == 1 ? units : units.slice(part, 1);
  }
  Value issue(Value position, int64_t part, Value acc, Value unless = Value());
  Value issueInTurn(Value position, Value acc) {
    if (product.turns)
      product.turns->take();
    Value products = issue(position, /*part=*/0, acc);
    if (product.turns)
      product.turns->pass();
    return products;
  }
  void waitFor(Value position) {
    product.beforeStage(position);
    WaitFullOp::create(b, product.ring, position, /*gathered=*/false);
  }

  DeviceBuilder &b;
  const GroupedMatmulSpec &spec;
  const ScaledProduct &product;
  const ScaledTile &tile;
  int64_t kBlocks, columns, parts;
  FragmentType partType, sumType;
  AccumulatorType accType;
  SliceType sliceType;
  AxisAttr alternate;
  /// The scale of the first K block, of each block of weight rows.
  SmallVector<Value> weightScales;
};
} // namespace

/// Weight rows of gate and up alternate by eight, so that 256 of them are a
/// block of each.  Past the last row the last block is read, for what is not
/// stored.
void Multiplier::findWeightScales() {
  // All lanes read one address, but must not look as if: a value known to be
  // uniform is moved to a uniform register as soon as it is loaded, and its
  // warp waits.
  Value nothing = b.bitAnd(b.lane(), b.shr(product.scaleRows, 31));
  Value base = b.atElement(b.toGlobal(product.wScale), b.getF32Type(), nothing);
  int64_t groups = spec.isPaired() ? 2 : 1;
  int64_t blocks = llvm::divideCeil(spec.n / groups, scaleBlock);
  int64_t count = spec.isPaired() ? 2 : spec.swap ? 1 : columns / scaleBlock;
  for (int64_t i = 0; i < count; ++i) {
    Value group = tile.expert, block;
    if (spec.isPaired()) {
      group = b.add(b.mul(group, 2), i);
      block = b.div(tile.weightRow, 2 * scaleBlock);
    } else {
      block = b.add(b.div(tile.weightRow, scaleBlock), i);
    }
    Value row = b.add(b.mul(group, blocks), b.min(block, blocks - 1));
    weightScales.push_back(
        b.atElement(base, b.getF32Type(), b.mul(row, kBlocks)));
  }
}

/// The scales of a K block that a fragment needs: a slice of those of tokens,
/// then those of weights, of gate and up or of each 128 rows.
SmallVector<Value> Multiplier::load(Value block) {
  Value first = b.add(b.mul(block, product.scaleRows), tile.token);
  SmallVector<Value> scales{
      LoadSliceOp::create(b, sliceType, product.xScale, first, tile.live)};
  for (Value scale : weightScales)
    scales.push_back(
        b.load(b.getF32Type(), b.atElement(scale, b.getF32Type(), block)));
  return scales;
}

/// A slice of products for each of the weights' scales.
SmallVector<Value> Multiplier::multiplyScales(ValueRange scales) {
  SmallVector<Value> units;
  for (Value weight : scales.drop_front())
    units.push_back(ScaleSliceOp::create(b, sliceType, scales.front(), weight));
  return units;
}

Value Multiplier::issue(Value position, int64_t part, Value acc, Value unless) {
  // Of the ring's tiles tokens are the first, weights the second.
  return MmaOp::create(b, accType, product.ring, position,
                       /*lhs=*/spec.swap ? 1 : 0, tile.firstRow,
                       /*rhs=*/spec.swap ? 0 : 1, acc, unless,
                       part * partColumns);
}

/// While one warpgroup scales its partial sums, the other's products run.  All
/// partial sums take the same registers: two sets and the sums are more than
/// there are.  The next block's scales are loaded behind the last products,
/// when nothing waits for them.
Value Multiplier::promote() {
  // False, but nobody knows before the kernel runs.
  Value keep = b.less(product.scaleRows, 0);
  SmallVector<Value> carried = multiplyScales(load(b.i32(0)));
  carried.push_back(
      MmaResumeOp::create(b, accType, ZeroFragmentOp::create(b, partType)));
  carried.push_back(ZeroFragmentOp::create(b, sumType));
  return b
      .loop(0, kBlocks, carried,
            [&](Value block, ValueRange state) -> SmallVector<Value> {
              ValueRange units = state.drop_back(2);
              Value acc = state.drop_back().back(), sum = state.back();
              Value position = b.add(tile.start, block);
              waitFor(position);
              SmallVector<Value> next;
              for (int64_t part = 0; part < parts; ++part) {
                Value products = issue(position, part, acc, keep);
                if (part == parts - 1)
                  next = load(b.min(b.add(block, 1), kBlocks - 1));
                Value partial = MmaWaitOp::create(b, products).getResult(0);
                if (part == parts - 1)
                  // Without a branch, or LLVM moves the sums of the parts
                  // before behind it, and needs copies of what they read.
                  ReleaseOp::create(b, product.ring, position,
                                    /*when=*/b.boolean(true));
                sum = PromoteOp::create(b, partial, unitsOf(units, part), sum,
                                        alternate, part * partColumns);
                acc = MmaResumeOp::create(b, accType, partial);
              }
              SmallVector<Value> values = multiplyScales(next);
              values.append({acc, sum});
              return values;
            })
      .back();
}

/// While one warpgroup brings its sums to new units, the other's products run.
Value Multiplier::rescale() {
  SmallVector<Value> carried = multiplyScales(load(b.i32(0)));
  size_t unitCount = carried.size();
  waitFor(tile.start);
  Value first = issueInTurn(tile.start, Value());
  llvm::append_range(carried, load(b.i32(std::min<int64_t>(1, kBlocks - 1))));
  carried.push_back(first);
  SmallVector<Value> last = b.loop(
      1, kBlocks, carried,
      [&](Value block, ValueRange state) -> SmallVector<Value> {
        ValueRange from = state.take_front(unitCount);
        Value position = b.add(tile.start, block);
        Value sum = MmaWaitOp::create(b, state.back()).getResult(0);
        ReleaseOp::create(b, product.ring, b.sub(position, 1),
                          /*when=*/Value());
        SmallVector<Value> to =
            multiplyScales(state.drop_front(unitCount).drop_back());
        sum = RescaleOp::create(b, sum, from, to, alternate);
        waitFor(position);
        Value products =
            issueInTurn(position, MmaResumeOp::create(b, accType, sum));
        SmallVector<Value> values = to;
        llvm::append_range(values, load(b.min(b.add(block, 1), kBlocks - 1)));
        values.push_back(products);
        return values;
      });
  Value sum = MmaWaitOp::create(b, last.back()).getResult(0);
  ReleaseOp::create(b, product.ring, b.add(tile.start, kBlocks - 1),
                    /*when=*/Value());
  return RescaleOp::create(b, sum, ValueRange(last).take_front(unitCount),
                           ValueRange(), alternate);
}

Value moe::multiplyScaled(DeviceBuilder &b, const ScaledProduct &product,
                          const ScaledTile &tile) {
  Multiplier multiplier(b, product, tile);
  return product.spec.rescale ? multiplier.rescale() : multiplier.promote();
}
