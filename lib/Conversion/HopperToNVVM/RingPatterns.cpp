// Rings: barriers, TMA and gathered loads.
#include "Patterns.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace moe;
using namespace moe::hopper;

/// Hint of how long one try_wait may sleep, in nanoseconds; the op loops until
/// success.
static constexpr int64_t waitTicks = 10'000'000;

void moe::createAsyncProxyFence(DeviceBuilder &b) {
  NVVM::FenceProxyOp::create(
      b, NVVM::ProxyKind::async_shared,
      NVVM::SharedSpaceAttr::get(b.getContext(),
                                 NVVM::SharedSpace::shared_cta));
}

static Value getFullBarrier(DeviceBuilder &b, RingType type, Value ring,
                            Value stage) {
  return b.atByte(ring, b.add(b.shl(stage, 3), type.getBarrierOffset()));
}

static Value getEmptyBarrier(DeviceBuilder &b, RingType type, Value ring,
                             Value stage) {
  int64_t offset = type.getBarrierOffset() + 8 * type.getStages();
  return b.atByte(ring, b.add(b.shl(stage, 3), offset));
}

static Value getTile(DeviceBuilder &b, RingType type, Value ring, Value stage,
                     int64_t tile) {
  int64_t bytes = type.getTiles()[tile].getBytes();
  return b.atByte(ring, b.add(b.mul(stage, bytes), type.getTileOffset(tile)));
}

static Value getNote(DeviceBuilder &b, RingType type, Value ring,
                     Value position) {
  Value stage = getStage(b, type, position);
  return b.atByte(ring, b.add(b.shl(stage, 4), type.getNoteOffset()));
}

/// Parity of the pass over the ring that a position belongs to.
static Value getParity(DeviceBuilder &b, RingType type, Value position) {
  return b.bitAnd(b.div(position, type.getStages()), 1);
}

namespace {
struct InitRingPattern : EffectPattern<InitRingOp> {
  using EffectPattern::EffectPattern;
  void lower(InitRingOp op, Adaptor adaptor, DeviceBuilder &b) const override {
    RingType type = op.getRing().getType();
    Value fill = b.i32(op.getFill()), drain = b.i32(op.getDrain());
    for (int64_t stage = 0; stage < type.getStages(); ++stage) {
      Value number = b.i32(stage);
      NVVM::MBarrierInitOp::create(
          b, getFullBarrier(b, type, adaptor.getRing(), number), fill, Value());
      NVVM::MBarrierInitOp::create(
          b, getEmptyBarrier(b, type, adaptor.getRing(), number), drain,
          Value());
    }
    NVVM::FenceMbarrierInitOp::create(b);
  }
};

struct AcquirePattern : EffectPattern<AcquireOp> {
  using EffectPattern::EffectPattern;
  void lower(AcquireOp op, Adaptor adaptor, DeviceBuilder &b) const override {
    RingType type = op.getRing().getType();
    Value stage = getStage(b, type, adaptor.getPosition());
    // The opposite parity: a fresh barrier counts as having completed it.
    Value parity = b.bitXor(getParity(b, type, adaptor.getPosition()), 1);
    NVVM::MBarrierTryWaitParityOp::create(
        b, getEmptyBarrier(b, type, adaptor.getRing(), stage), parity,
        b.i32(waitTicks));
  }
};

struct ExpectPattern : EffectPattern<ExpectOp> {
  using EffectPattern::EffectPattern;
  void lower(ExpectOp op, Adaptor adaptor, DeviceBuilder &b) const override {
    RingType type = op.getRing().getType();
    int64_t bytes = 0;
    for (int64_t tile : op.getTiles())
      bytes += type.getTiles()[tile].getBytes();
    Value stage = getStage(b, type, adaptor.getPosition());
    Value count = b.i32(bytes);
    if (Value rows = adaptor.getRows())
      count = b.add(b.mul(rows, type.getTiles()[0].getRowBytes()), bytes);
    else if (bytes == 0) {
      NVVM::MBarrierArriveOp::create(
          b, Type(), getFullBarrier(b, type, adaptor.getRing(), stage),
          Value());
      return;
    }
    NVVM::MBarrierArriveExpectTxOp::create(
        b, Type(), getFullBarrier(b, type, adaptor.getRing(), stage), count,
        NVVM::MemScopeKind::CTA, /*relaxed=*/false, Value());
  }
};

struct TmaLoadPattern : EffectPattern<TmaLoadOp> {
  using EffectPattern::EffectPattern;
  void lower(TmaLoadOp op, Adaptor adaptor, DeviceBuilder &b) const override {
    RingType type = op.getRing().getType();
    Value stage = getStage(b, type, adaptor.getPosition());
    TileType tile = type.getTiles()[op.getTile()];
    Value target = getTile(b, type, adaptor.getRing(), stage, op.getTile());
    if (Value first = adaptor.getFirst())
      target = b.atByte(target, b.mul(first, tile.getRowBytes()));
    Value mask;
    if (op.getCluster() > 1)
      mask = LLVM::ConstantOp::create(b, b.getI16Type(),
                                      (1 << op.getCluster()) - 1);
    target = LLVM::AddrSpaceCastOp::create(
        b, LLVM::LLVMPointerType::get(b.getContext(), 7), target);
    SmallVector<Value> place{adaptor.getColumn(), adaptor.getRow()};
    if (op.getBlocked())
      place = {b.i32(0), b.i32(0), b.shr(adaptor.getColumn(), 6),
               b.shr(adaptor.getRow(), 3)};
    NVVM::CpAsyncBulkTensorGlobalToSharedClusterOp::create(
        b, target, adaptor.getMap(), place,
        getFullBarrier(b, type, adaptor.getRing(), stage), ValueRange(), mask,
        /*l2CacheHint=*/Value(), NVVM::TMALoadMode::TILE, /*isCTAOnly=*/false,
        nullptr, Value());
  }
};

struct GatherRowsPattern : OpConversionPattern<GatherRowsOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(GatherRowsOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    DeviceBuilder b(op.getLoc(), rewriter);
    TileType tile = op.getRows().getType().getTile();
    int64_t pitch =
        op.getPitch() * tile.getElementType().getIntOrFloatBitWidth() / 8;
    ThreadChunk chunk(b);
    Value first = b.add(adaptor.getRow(), chunk.row);
    Value last = b.sub(adaptor.getEnd(), 1);
    Value base =
        b.atByte(b.toGlobal(adaptor.getBase()), b.shl(chunk.column, 4));
    Value rows = LLVM::UndefOp::create(
        b, getTypeConverter()->convertType(op.getRows().getType()));
    for (int64_t pass = 0; pass < tile.getRows() / 16; ++pass) {
      Value row = b.min(b.add(first, 16 * pass), last);
      Value source = row;
      if (Value index = adaptor.getIndex())
        source = b.div(
            b.load(b.getI32Type(), b.atElement(index, b.getI32Type(), row)),
            static_cast<int64_t>(op.getDivisor()));
      Value wide = arith::ExtUIOp::create(b, b.getI64Type(), source);
      Value bytes = arith::MulIOp::create(b, wide, b.i64(pitch));
      rows = LLVM::InsertValueOp::create(b, rows, b.atByte(base, bytes), pass);
    }
    rewriter.replaceOp(op, rows);
    return success();
  }
};

struct GatherLoadPattern : EffectPattern<GatherLoadOp> {
  using EffectPattern::EffectPattern;
  void lower(GatherLoadOp op, Adaptor adaptor,
             DeviceBuilder &b) const override {
    RingType type = op.getRing().getType();
    TileType tile = type.getTiles()[op.getTile()];
    int64_t elementBytes = tile.getElementType().getIntOrFloatBitWidth() / 8;
    int64_t perCopy = 16 / elementBytes;
    Value stage = getStage(b, type, adaptor.getPosition());
    ThreadChunk chunk(b);
    Value target =
        b.atByte(getTile(b, type, adaptor.getRing(), stage, op.getTile()),
                 chunk.getSwizzled(b));
    Value size; // of the 16 bytes, those to read; the rest becomes zero
    if (op.getColumns() % tile.getColumns()) {
      Value column = b.add(adaptor.getColumn(), b.mul(chunk.column, perCopy));
      size = b.select(b.less(column, op.getColumns()), 16, 0);
    }
    Value bytes = b.mul(adaptor.getColumn(), elementBytes);
    for (int64_t pass = 0; pass < tile.getRows() / 16; ++pass) {
      Value source = LLVM::ExtractValueOp::create(b, adaptor.getRows(), pass);
      auto copy = [&] {
        NVVM::CpAsyncOp::create(b, b.atByte(target, 2048 * pass),
                                b.atByte(source, bytes), 16,
                                NVVM::LoadCacheModifierKind::CG, size);
      };
      if (Value live = adaptor.getLive())
        b.ifThen(b.less(16 * pass, live), copy);
      else
        copy();
    }
  }
};

struct CommitPattern : EffectPattern<CommitOp> {
  using EffectPattern::EffectPattern;
  void lower(CommitOp op, Adaptor adaptor, DeviceBuilder &b) const override {
    RingType type = op.getRing().getType();
    Value stage = getStage(b, type, adaptor.getPosition());
    NVVM::CpAsyncMBarrierArriveOp::create(
        b, getFullBarrier(b, type, adaptor.getRing(), stage), /*noinc=*/true);
  }
};

struct WriteNotePattern : EffectPattern<WriteNoteOp> {
  using EffectPattern::EffectPattern;
  void lower(WriteNoteOp op, Adaptor adaptor, DeviceBuilder &b) const override {
    auto type = VectorType::get(4, b.getI32Type());
    Value note = LLVM::UndefOp::create(b, type);
    for (auto [i, value] : llvm::enumerate(adaptor.getOperands().drop_front(2)))
      note = LLVM::InsertElementOp::create(b, note, value, b.i32(i));
    b.store(note,
            getNote(b, op.getRing().getType(), adaptor.getRing(),
                    adaptor.getPosition()),
            16);
  }
};

struct ReadNotePattern : OpConversionPattern<ReadNoteOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(ReadNoteOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    DeviceBuilder b(op.getLoc(), rewriter);
    Value note = b.load(VectorType::get(4, b.getI32Type()),
                        getNote(b, op.getRing().getType(), adaptor.getRing(),
                                adaptor.getPosition()),
                        16);
    SmallVector<Value> values;
    for (int64_t i = 0; i < 4; ++i)
      values.push_back(LLVM::ExtractElementOp::create(b, note, b.i32(i)));
    rewriter.replaceOp(op, values);
    return success();
  }
};

struct WaitFullPattern : EffectPattern<WaitFullOp> {
  using EffectPattern::EffectPattern;
  void lower(WaitFullOp op, Adaptor adaptor, DeviceBuilder &b) const override {
    RingType type = op.getRing().getType();
    Value stage = getStage(b, type, adaptor.getPosition());
    NVVM::MBarrierTryWaitParityOp::create(
        b, getFullBarrier(b, type, adaptor.getRing(), stage),
        getParity(b, type, adaptor.getPosition()), b.i32(waitTicks));
    if (op.getGathered())
      createAsyncProxyFence(b);
  }
};

struct ReleasePattern : EffectPattern<ReleaseOp> {
  using EffectPattern::EffectPattern;
  void lower(ReleaseOp op, Adaptor adaptor, DeviceBuilder &b) const override {
    RingType type = op.getRing().getType();
    Value stage = getStage(b, type, adaptor.getPosition());
    Value barrier = getEmptyBarrier(b, type, adaptor.getRing(), stage);
    // Without it the compiler may run lane 0 ahead of lanes that still poll the
    // `full` barrier; the stage is then filled again and they miss their phase.
    NVVM::SyncWarpOp::create(b, b.i32(-1));
    auto both = [&](Value condition) {
      return op.getWhen() ? b.both(condition, adaptor.getWhen()) : condition;
    };
    if (op.getCluster() == 1) {
      Value arrives = both(b.equal(b.lane(), 0));
      if (!op.getWhen()) {
        b.ifThen(arrives, [&] {
          NVVM::MBarrierArriveOp::create(b, Type(), barrier, Value());
        });
        return;
      }
      b.assembly(Type(),
                 {barrier, arith::ExtUIOp::create(b, b.getI32Type(), arrives)},
                 "{\n.reg .pred arrives;\nsetp.ne.b32 arrives, $1, 0;\n"
                 "@arrives mbarrier.arrive.shared.b64 _, [$0];\n}",
                 "l,r,~{memory}");
      return;
    }
    // Relaxed: what is handed over was read by wgmma, which has been waited
    // for; a release to the cluster would be a barrier of all memory.
    b.ifThen(both(b.less(b.lane(), op.getCluster())), [&] {
      auto remote = LLVM::LLVMPointerType::get(b.getContext(), 7);
      NVVM::MBarrierArriveOp::create(
          b, Type(), NVVM::MapaOp::create(b, remote, barrier, b.lane()),
          /*count=*/Value(), NVVM::MemScopeKind::CLUSTER, /*relaxed=*/true);
    });
  }
};
} // namespace

void moe::populateRingPatterns(const TypeConverter &converter,
                               RewritePatternSet &patterns) {
  patterns.add<PlacementPattern<RingDeclOp>, InitRingPattern, AcquirePattern,
               ExpectPattern, TmaLoadPattern, GatherRowsPattern,
               GatherLoadPattern, CommitPattern, WriteNotePattern,
               ReadNotePattern, WaitFullPattern, ReleasePattern>(
      converter, patterns.getContext());
}
