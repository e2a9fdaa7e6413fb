// Rows that belong to other rows of the output: staging box, registers, stores
// of 16 bytes.
#include "Patterns.h"

#include "moe/Codegen/ScalarMath.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace moe;
using namespace moe::hopper;

static constexpr int64_t groupThreads = 128;
static constexpr int64_t passRows = ThreadChunk::rowsPerPass;
/// Rows that a thread has under way: its accumulators may still take most of
/// its registers.
static constexpr int64_t passesTogether = 4;

/// This thread's copies to shared memory have arrived.
static void awaitCopies(DeviceBuilder &b) {
  b.assembly(Type(), {}, "cp.async.wait_all;", "~{memory}");
}

/// For the rows of places that are this thread's, live ones only: the place.
static void forEachPlace(DeviceBuilder &b, Value places, PlacesType type,
                         Value count, function_ref<void(Value, Value)> body) {
  Value thread = getGroupThread(b);
  Value live = b.min(count, type.getRows());
  for (int64_t first = 0; first < type.getRows(); first += groupThreads) {
    Value row = b.add(thread, first);
    b.ifThen(b.less(row, live),
             [&] { body(row, b.atByte(places, b.shl(row, 2))); });
  }
}

static void copyWord(DeviceBuilder &b, Value to, Value from) {
  NVVM::CpAsyncOp::create(b, to, b.toGlobal(from), 4,
                          NVVM::LoadCacheModifierKind::CA, Value());
}

namespace {
/// The rows of one box, 16 bytes a thread and pass.
class BoxScatter {
public:
  BoxScatter(DeviceBuilder &b, Value places, PlacesType type, Value output,
             Value count, int64_t columns, bool scaled)
      : b(b), type(type), columns(columns), scaled(scaled), chunk(b) {
    this->places = b.atByte(places, b.shl(chunk.row, 2));
    offset = chunk.getSwizzled(b);
    this->output = b.atByte(b.toGlobal(output), b.shl(chunk.column, 4));
    live = b.sub(b.min(count, type.getRows()), chunk.row);
  }

  /// The box holds rows of the tile from `first` on, at `column`.
  void store(Value box, int64_t rows, int64_t first, Value column) {
    Value fits = b.less(b.add(column, b.shl(chunk.column, 3)), columns);
    Value base = b.atByte(output, b.shl(column, 1));
    Value source = b.atByte(box, offset);
    for (int64_t done = 0; done < rows; done += passesTogether * passRows) {
      int64_t end = std::min(done + passesTogether * passRows, rows);
      storeRows(source, done, end, first, fits, base);
    }
  }

private:
  void storeRows(Value source, int64_t begin, int64_t end, int64_t first,
                 Value fits, Value base) {
    auto four = VectorType::get(4, b.getI32Type());
    SmallVector<Value> words, rows, factors;
    for (int64_t at = begin; at < end; at += passRows) {
      Value place = b.atByte(places, 4 * (first + at));
      rows.push_back(b.load(b.getI32Type(), place));
      if (scaled)
        factors.push_back(
            b.load(b.getF32Type(), b.atByte(place, type.getFactorOffset())));
      words.push_back(b.load(four, b.atByte(source, 128 * at), 16));
    }
    for (auto [i, word] : llvm::enumerate(words)) {
      int64_t at = begin + i * passRows;
      Value lives = b.both(fits, b.less(first + at, live));
      // The last pass of a box whose rows are no multiple of 16.
      if (at + passRows > end)
        lives = b.both(lives, b.less(chunk.row, end - at));
      Value wide = arith::ExtUIOp::create(b, b.getI64Type(), rows[i]);
      Value bytes = arith::MulIOp::create(b, wide, b.i64(2 * columns));
      SmallVector<Value> operands{b.atByte(base, bytes)};
      for (int64_t w = 0; w < 4; ++w) {
        Value pair = LLVM::ExtractElementOp::create(b, word, b.i32(w));
        operands.push_back(scaled ? scale(pair, factors[i]) : pair);
      }
      operands.push_back(arith::ExtUIOp::create(b, b.getI32Type(), lives));
      // A branch would stand between loads of the next rows and these stores.
      b.assembly(Type(), operands,
                 "{\n.reg .pred lives;\nsetp.ne.b32 lives, $5, 0;\n"
                 "@lives st.global.v4.b32 [$0], {$1, $2, $3, $4};\n}",
                 "l,r,r,r,r,r,~{memory}");
    }
  }

  Value scale(Value pair, Value factor) {
    auto times = [&](Value bits) -> Value {
      return arith::MulFOp::create(b, b.toFloat(bits), factor);
    };
    return createBF16Pair(b, times(b.shl(pair, 16)),
                          times(b.bitAnd(pair, 0xFFFF0000)));
  }

  DeviceBuilder &b;
  PlacesType type;
  int64_t columns;
  bool scaled;
  ThreadChunk chunk;
  Value places, output, offset, live;
};

struct PlacesPattern : OpConversionPattern<PlacesOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(PlacesOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    DeviceBuilder b(op.getLoc(), rewriter);
    int64_t bytes = op.getPlaces().getType().getBytes();
    rewriter.replaceOp(op,
                       getConsumersPart(b, adaptor.getBase(), op.getOffset(),
                                        adaptor.getConsumer(), bytes));
    return success();
  }
};

struct AskPlacesPattern : EffectPattern<AskPlacesOp> {
  using EffectPattern::EffectPattern;
  void lower(AskPlacesOp op, Adaptor adaptor, DeviceBuilder &b) const override {
    createGroupBarrier(b, b.warpgroup());
    forEachPlace(b, adaptor.getPlaces(), op.getPlaces().getType(),
                 adaptor.getCount(), [&](Value row, Value place) {
                   Value at = b.add(adaptor.getRow(), row);
                   copyWord(
                       b, place,
                       b.atElement(adaptor.getIndex(), b.getI32Type(), at));
                 });
  }
};

struct AskFactorsPattern : EffectPattern<AskFactorsOp> {
  using EffectPattern::EffectPattern;
  void lower(AskFactorsOp op, Adaptor adaptor,
             DeviceBuilder &b) const override {
    PlacesType type = op.getPlaces().getType();
    awaitCopies(b);
    forEachPlace(b, adaptor.getPlaces(), type, adaptor.getCount(),
                 [&](Value, Value place) {
                   Value row = b.load(b.getI32Type(), place);
                   copyWord(
                       b, b.atByte(place, type.getFactorOffset()),
                       b.atElement(adaptor.getFactors(), b.getF32Type(), row));
                 });
  }
};

struct ScatterTilePattern : FragmentEffectPattern<ScatterTileOp> {
  using EffectPattern::EffectPattern;
  void lower(ScatterTileOp op, Adaptor adaptor,
             DeviceBuilder &b) const override {
    StagingType staging = op.getStaging().getType();
    TileType tile = staging.getBox();
    bool transposed = op.getTransposed();
    int64_t halves = FragmentLayout(op.getFragment().getType()).getHalves();
    Value group = b.warpgroup();
    ValueRange values = adaptor.getFragment();
    int64_t boxes = op.getBoxes(), perBox = values.size() / boxes;
    BoxScatter scatter(b, adaptor.getPlaces().front(), op.getPlaces().getType(),
                       adaptor.getOutput().front(), adaptor.getCount().front(),
                       op.getColumns(), op.getScaled());
    auto getBuffer = [&](int64_t box) {
      return b.atByte(adaptor.getStaging().front(),
                      box % staging.getBuffers() * tile.getBytes());
    };
    for (int64_t first = 0; first < boxes; first += staging.getBuffers()) {
      int64_t end = first + staging.getBuffers();
      // All have read what was there: those of the tile before have met since.
      if (first)
        createGroupBarrier(b, group);
      for (int64_t i = first; i < end; ++i) {
        SmallVector<Value> pairs;
        for (int64_t reg = i * perBox; reg < (i + 1) * perBox; reg += 2)
          pairs.push_back(createBF16Pair(b, values[reg], values[reg + 1]));
        writeBox(b, getBuffer(i), tile, pairs, halves, transposed);
      }
      if (!first)
        awaitCopies(b);
      createGroupBarrier(b, group);
      Value column = adaptor.getColumn().front();
      for (int64_t i = first; i < end; ++i) {
        if (transposed)
          scatter.store(getBuffer(i), tile.getRows(), i * tile.getRows(),
                        column);
        else
          scatter.store(getBuffer(i), tile.getRows(), 0,
                        b.add(column, i * tile.getColumns()));
      }
    }
  }
};

struct ScatterStagingPattern : EffectPattern<ScatterStagingOp> {
  using EffectPattern::EffectPattern;
  void lower(ScatterStagingOp op, Adaptor adaptor,
             DeviceBuilder &b) const override {
    TileType box = op.getStaging().getType().getBox();
    awaitCopies(b);
    createGroupBarrier(b, b.warpgroup());
    BoxScatter scatter(b, adaptor.getPlaces(), op.getPlaces().getType(),
                       adaptor.getOutput(), adaptor.getCount(), op.getColumns(),
                       op.getScaled());
    for (int64_t i = 0; i < static_cast<int64_t>(op.getBoxes()); ++i)
      scatter.store(b.atByte(adaptor.getStaging(), i * box.getBytes()),
                    box.getRows(), 0,
                    b.add(adaptor.getColumn(), i * box.getColumns()));
  }
};
} // namespace

void moe::populatePlacePatterns(const TypeConverter &converter,
                                RewritePatternSet &patterns) {
  patterns.add<PlacesPattern, AskPlacesPattern, AskFactorsPattern,
               ScatterTilePattern, ScatterStagingPattern>(
      converter, patterns.getContext());
}
