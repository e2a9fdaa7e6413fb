// Accumulators, fragments, the store and the schedule.
#include "Patterns.h"

#include "moe/Codegen/ScalarMath.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace moe;
using namespace moe::hopper;

static SmallVector<Value> unpack(DeviceBuilder &b, Value registers) {
  SmallVector<Value> values;
  auto type = cast<LLVM::LLVMStructType>(registers.getType());
  for (unsigned i = 0; i < type.getBody().size(); ++i)
    values.push_back(LLVM::ExtractValueOp::create(b, registers, i));
  return values;
}

static Value pack(DeviceBuilder &b, Type type, ArrayRef<Value> values) {
  Value registers = LLVM::UndefOp::create(b, type);
  for (auto [i, value] : llvm::enumerate(values))
    registers = LLVM::InsertValueOp::create(b, registers, value, i);
  return registers;
}

static Value getCoordinate(DeviceBuilder &b, ThreadCoordinate at) {
  Value sum = b.mul(b.warpInGroup(), at.warpScale);
  sum = b.add(sum, b.mul(b.shr(b.lane(), 2), at.quadScale));
  sum = b.add(sum, b.mul(b.bitAnd(b.lane(), 3), at.laneScale));
  return b.add(sum, at.constant);
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

  LogicalResult
  matchAndRewrite(MmaOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    DeviceBuilder b(op.getLoc(), rewriter);
    RingType ring = op.getRing().getType();
    Type accType = getTypeConverter()->convertType(op.getResult().getType());
    TileType lhsTile = ring.getTiles()[op.getLhs()];
    Value stage = getStage(b, ring, adaptor.getPosition());
    Value base = b.shr(
        LLVM::PtrToIntOp::create(b, b.getI32Type(), adaptor.getRing()), 4);
    auto start = [&](int64_t tile) {
      int64_t bytes = ring.getTiles()[tile].getBytes();
      Value at = b.add(base, ring.getTileOffset(tile) / 16);
      return b.add(at, b.mul(stage, bytes / 16));
    };
    Value lhs = b.add(start(op.getLhs()), b.mul(adaptor.getRow(), 128 / 16));
    Value rhs = start(op.getRhs());
    Value acc = adaptor.getAcc();
    bool zero = !acc;
    if (zero)
      acc = LLVM::UndefOp::create(b, accType);
    bool isBF16 = lhsTile.getElementType().isBF16();
    auto type = isBF16 ? NVVM::WGMMATypes::bf16 : NVVM::WGMMATypes::e4m3;
    auto shape = NVVM::MMAShapeAttr::get(getContext(), 64,
                                         op.getResult().getType().getColumns(),
                                         isBF16 ? 16 : 32);
    NVVM::WgmmaFenceAlignedOp::create(b);
    for (int64_t step = 0; step < lhsTile.getRowBytes() / 32; ++step) {
      auto scale = zero && step == 0 ? NVVM::WGMMAScaleOut::zero
                                     : NVVM::WGMMAScaleOut::one;
      acc = NVVM::WgmmaMmaAsyncOp::create(
          b, accType, acc, getDescriptor(b, b.add(lhs, 2 * step)),
          getDescriptor(b, b.add(rhs, 2 * step)), shape, type, type,
          NVVM::WGMMATypes::f32, scale, NVVM::WGMMAScaleIn::one,
          NVVM::WGMMAScaleIn::one, NVVM::MMALayout::row, NVVM::MMALayout::col,
          NVVM::MMAIntOverflowAttr());
    }
    NVVM::WgmmaGroupSyncAlignedOp::create(b);
    rewriter.replaceOp(op, acc);
    return success();
  }
};

struct MmaThrottlePattern : OpConversionPattern<MmaThrottleOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(MmaThrottleOp op, OpAdaptor,
                  ConversionPatternRewriter &rewriter) const override {
    DeviceBuilder b(op.getLoc(), rewriter);
    NVVM::WgmmaWaitGroupSyncOp::create(b, op.getPending());
    rewriter.eraseOp(op);
    return success();
  }
};

/// Inline assembly that takes and redefines every accumulator: nvvm's own wait
/// has no operands, so reads could move above it.
struct MmaWaitPattern : OpConversionPattern<MmaWaitOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(MmaWaitOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    DeviceBuilder b(op.getLoc(), rewriter);
    SmallVector<Value> values = unpack(b, adaptor.getAcc());
    std::string constraints;
    for (size_t i = 0; i < values.size(); ++i)
      constraints += "=f,";
    for (size_t i = 0; i < values.size(); ++i)
      constraints += std::to_string(i) + (i + 1 < values.size() ? "," : "");
    auto wait = LLVM::InlineAsmOp::create(
        b, adaptor.getAcc().getType(), values,
        "wgmma.wait_group.sync.aligned 0;", constraints,
        /*has_side_effects=*/true, /*is_align_stack=*/false,
        LLVM::tailcallkind::TailCallKind::None, LLVM::AsmDialectAttr(),
        ArrayAttr());
    rewriter.replaceOp(op, wait.getResult(0));
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
    rewriter.replaceOp(op,
                       pack(b, getTypeConverter()->convertType(type), values));
    return success();
  }
};

/// One copy of the region per register of the result.
struct EpiloguePattern : OpConversionPattern<EpilogueOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(EpilogueOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    DeviceBuilder b(op.getLoc(), rewriter);
    FragmentLayout in(op.getFragment().getType());
    FragmentLayout out(op.getResult().getType());
    SmallVector<Value> elements = unpack(b, adaptor.getFragment());
    SmallVector<SmallVector<Value>> slices;
    for (Value slice : adaptor.getSlices())
      slices.push_back(unpack(b, slice));
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
    Type type = getTypeConverter()->convertType(op.getResult().getType());
    rewriter.replaceOp(op, pack(b, type, results));
    return success();
  }
};

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
    int64_t count = matrices.size();
    int64_t step = count % 4 == 0 ? 4 : count % 2 == 0 ? 2 : 1;
    for (int64_t first = 0; first < count; first += step)
      NVVM::StMatrixOp::create(b, getMatrixRow(b, op, box, first),
                               matrices.slice(first, step), layout, shape,
                               NVVM::LdStMatrixEltType::B16);
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
    SmallVector<Value> values = unpack(b, adaptor.getFragment());
    int64_t perBox = values.size() / op.getBoxes();
    Value leader = b.equal(b.bitAnd(b.threadId(), 127), 0);
    Value group = b.warpgroup();
    auto barrier = [&] {
      NVVM::BarrierOp::create(b, Type(), group, b.i32(128),
                              NVVM::BarrierReductionAttr(), Value());
    };
    for (int64_t number = 0; number < op.getBoxes(); ++number) {
      int64_t buffer = number % staging.getBuffers();
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
    Value rowTiles = b.max(b.ceilDiv(b.sub(at.end, at.begin), tileRows), 1);
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
    row = b.add(at.begin, b.mul(b.add(passBegin, row), tileRows));
    column = b.mul(column, op.getTileColumns());
    rewriter.replaceOp(op, {valid, at.expert, at.first, row, at.end, column});
    return success();
  }
};
} // namespace

void moe::populateTilePatterns(const TypeConverter &converter,
                               RewritePatternSet &patterns) {
  patterns.add<MmaPattern, MmaThrottlePattern, MmaWaitPattern, LoadSlicePattern,
               EpiloguePattern, StagingPattern, StoreTilePattern,
               DrainStoresPattern, NextTilePattern>(converter,
                                                    patterns.getContext());
}
