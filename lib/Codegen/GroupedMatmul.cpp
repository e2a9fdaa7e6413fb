// Persistent, warp-specialised kernel: warpgroup 0 fills a ring of K blocks,
// warpgroups 1 and 2 multiply them, 64 rows of the tile each.  Both roles walk
// the same schedule, so the ring position at a tile is a function of the tiles
// before it and never exchanged.
#include "GroupedMatmulPlan.h"

#include "dialects/Hopper/HopperDialect.h"
#include "moe/Codegen/DeviceBuilder.h"
#include "moe/Codegen/ScalarMath.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace moe;
using namespace moe::hopper;

/// Registers per thread after the roles split: 128 * producer + 256 * consumer
/// <= 64512.
static constexpr uint32_t producerRegisters = 40, consumerRegisters = 232;
static constexpr uint32_t gatherProducerRegisters = 56,
                          gatherConsumerRegisters = 224;
/// Tiles of a ring stage.
static constexpr int64_t tokensTile = 0, weightsTile = 1;

namespace {
/// One output tile: rows row .. end - 1 of `expert` (at most the tile's height
/// count), columns from `column` on.
struct OutputTile {
  Value expert, row, end, column;
};

class GroupedMatmulBuilder {
public:
  GroupedMatmulBuilder(DeviceBuilder &b, gpu::GPUModuleOp module,
                       LLVM::LLVMFuncOp function, const GroupedMatmulSpec &spec)
      : b(b), spec(spec), plan(planGroupedMatmul(spec)), function(function) {
    Type bf16 = b.getBF16Type();
    auto tile = [&](int64_t rows, int64_t columns) {
      return TileType::get(b.getContext(), rows, columns, bf16);
    };
    ringType = RingType::get(b.getContext(), plan.stages,
                             {tile(spec.tileTokens, blockColumns),
                              tile(spec.tileWeights, blockColumns)});
    stagingType = StagingType::get(b.getContext(), plan.buffers,
                                   tile(plan.boxRows, plan.boxColumns));
    shared = getDynamicShared(b, b.getLoc(), module);
    kBlocks = llvm::divideCeil(spec.k, blockColumns);
  }

  void build();

private:
  Value argument(StringRef name);
  void start();
  void forEachTile(function_ref<void(OutputTile, Value)> body);
  void producer();
  void gatherProducer();
  void loadWeights(OutputTile tile, Value position, Value block);
  void consumer();
  Value multiply(Value start, Value firstRow);
  void keepTurning(Value position);
  Value applyEpilogue(Value values, OutputTile tile, Value row, Value live,
                      Value weightRow);
  void sleepSometimes(Value position, int64_t role);

  DeviceBuilder &b;
  const GroupedMatmulSpec &spec;
  GroupedMatmulPlan plan;
  LLVM::LLVMFuncOp function;
  RingType ringType;
  StagingType stagingType;
  Value shared, ring;
  int64_t kBlocks;
};
} // namespace

Value GroupedMatmulBuilder::argument(StringRef name) {
  KernelInterface interface = getGroupedMatmulInterface(spec);
  for (auto [i, parameter] : llvm::enumerate(interface.parameters))
    if (parameter.name == name)
      return function.getArgument(i);
  llvm_unreachable("no such parameter");
}

void GroupedMatmulBuilder::build() {
  ring = RingDeclOp::create(b, ringType, shared, plan.ringOffset);
  start();
  b.awaitPredecessors();
  NVVM::BarrierOp::create(b);
  Value warp = b.uniform(b.shr(b.threadId(), 5));
  b.ifElse(
      b.less(warp, 4),
      [&] {
        NVVM::SetMaxRegisterOp::create(
            b, spec.gather ? gatherProducerRegisters : producerRegisters,
            NVVM::SetMaxRegisterAction::decrease);
        if (spec.gather)
          return gatherProducer();
        b.ifThen(b.equal(warp, 0), [&] {
          Value elected = NVVM::ElectSyncOp::create(b, b.getI1Type(), Value());
          b.ifThen(elected, [&] { producer(); });
        });
      },
      [&] {
        NVVM::SetMaxRegisterOp::create(
            b, spec.gather ? gatherConsumerRegisters : consumerRegisters,
            NVVM::SetMaxRegisterAction::increase);
        consumer();
      });
}

void GroupedMatmulBuilder::start() {
  b.ifThen(b.equal(b.threadId(), 0), [&] {
    for (auto [i, parameter] :
         llvm::enumerate(getGroupedMatmulInterface(spec).parameters))
      if (parameter.columns)
        NVVM::PrefetchOp::create(b, NVVM::PrefetchCacheLevelAttr(),
                                 NVVM::CacheEvictionPriorityAttr(),
                                 function.getArgument(i), Value(),
                                 /*tensormap=*/true);
    // Gathered: one arrival per copying thread besides the one that announces
    // the weights.
    InitRingOp::create(b, ring, /*fill=*/spec.gather ? 129 : 1,
                       /*drain=*/4 * consumers);
  });
}

//===----------------------------------------------------------------------===//
// Schedule
//===----------------------------------------------------------------------===//

/// Calls `body` with each tile of this CTA and the ring position where it
/// begins.
void GroupedMatmulBuilder::forEachTile(
    function_ref<void(OutputTile, Value)> body) {
  Value offsets = argument("offsets"), step = b.gridSize(), zero = b.i32(0);
  Type i32 = b.getI32Type();
  SmallVector<Type> resultTypes{b.getI1Type(), i32, i32, i32, i32, i32};
  enum { Number, Expert, First, Position, Row, End, Column };
  b.loopWhile(
      {b.blockId(), zero, zero, zero, zero, zero, zero},
      [&](ValueRange s) -> std::pair<Value, SmallVector<Value>> {
        auto next =
            NextTileOp::create(b, resultTypes, offsets, s[Number], s[Expert],
                               s[First], spec.experts, spec.n, spec.tileTokens,
                               spec.tileWeights, spec.passTiles, spec.rotate);
        return {next.getValid(),
                {s[Number], next.getNextExpert(), next.getNextFirst(),
                 s[Position], next.getRow(), next.getEnd(), next.getColumn()}};
      },
      [&](ValueRange s) -> SmallVector<Value> {
        body({s[Expert], s[Row], s[End], s[Column]}, s[Position]);
        return {b.add(s[Number], step),
                s[Expert],
                s[First],
                b.add(s[Position], kBlocks),
                s[Row],
                s[End],
                s[Column]};
      });
}

/// Up to some microseconds, different per role, CTA and step, and only for half
/// of the lanes.
void GroupedMatmulBuilder::sleepSometimes(Value position, int64_t role) {
  if (!spec.jitter)
    return;
  Value seed = b.add(b.add(position, b.mul(b.blockId(), 977)), role * 7919);
  Value mixed = b.shr(b.mul(seed, 0x2C1B3C6D), 20);
  Value odd = b.equal(b.bitAnd(b.bitXor(b.lane(), mixed), 1), 0);
  b.ifThen(odd, [&] { NVVM::NanosleepOp::create(b, mixed); });
}

//===----------------------------------------------------------------------===//
// Producer
//===----------------------------------------------------------------------===//

void GroupedMatmulBuilder::loadWeights(OutputTile tile, Value position,
                                       Value block) {
  Value row = b.add(b.mul(tile.expert, spec.n), tile.column);
  TmaLoadOp::create(b, ring, position, weightsTile, argument("w"),
                    b.mul(block, blockColumns), row, spec.blockedWeights);
}

void GroupedMatmulBuilder::producer() {
  forEachTile([&](OutputTile tile, Value start) {
    b.loop(0, kBlocks, {}, [&](Value block, ValueRange) -> SmallVector<Value> {
      Value position = b.add(start, block);
      sleepSometimes(position, 0);
      AcquireOp::create(b, ring, position);
      ExpectOp::create(b, ring, position,
                       ArrayRef<int64_t>{tokensTile, weightsTile});
      TmaLoadOp::create(b, ring, position, tokensTile, argument("x"),
                        b.mul(block, blockColumns), tile.row,
                        /*blocked=*/false);
      loadWeights(tile, position, block);
      return {};
    });
  });
}

/// All 128 threads copy rows of x; one of them also asks for the weights.
void GroupedMatmulBuilder::gatherProducer() {
  Value leader = b.equal(b.threadId(), 0);
  auto rowsType =
      GatheredType::get(b.getContext(), ringType.getTiles()[tokensTile]);
  forEachTile([&](OutputTile tile, Value start) {
    Value rows =
        GatherRowsOp::create(b, rowsType, argument("x"),
                             spec.gatherIndex ? argument("index") : Value(),
                             tile.row, tile.end, spec.k, spec.gatherDivisor);
    b.loop(0, kBlocks, {}, [&](Value block, ValueRange) -> SmallVector<Value> {
      Value position = b.add(start, block);
      sleepSometimes(position, 0);
      AcquireOp::create(b, ring, position);
      b.ifThen(leader, [&] {
        ExpectOp::create(b, ring, position, ArrayRef<int64_t>{weightsTile});
        loadWeights(tile, position, block);
      });
      GatherLoadOp::create(b, ring, position, tokensTile, rows,
                           b.mul(block, blockColumns), spec.k);
      CommitOp::create(b, ring, position);
      return {};
    });
  });
}

//===----------------------------------------------------------------------===//
// Consumer
//===----------------------------------------------------------------------===//

/// The products of all K blocks, two groups in flight: a stage is released when
/// the group after it has been issued.  The first block starts the sums, so
/// they are never zeroed.
Value GroupedMatmulBuilder::multiply(Value start, Value firstRow) {
  int64_t columns = spec.swap ? spec.tileTokens : spec.tileWeights;
  auto accType = AccumulatorType::get(b.getContext(), wgmmaRows, columns);
  int64_t lhs = spec.swap ? weightsTile : tokensTile;
  int64_t rhs = spec.swap ? tokensTile : weightsTile;
  WaitFullOp::create(b, ring, start, spec.gather);
  Value acc = MmaOp::create(b, accType, ring, start, lhs, firstRow, rhs,
                            /*acc=*/Value());
  acc = b.loop(1, kBlocks, acc,
               [&](Value block, ValueRange carried) -> SmallVector<Value> {
                 Value position = b.add(start, block);
                 sleepSometimes(position, 1);
                 WaitFullOp::create(b, ring, position, spec.gather);
                 Value next = MmaOp::create(b, accType, ring, position, lhs,
                                            firstRow, rhs, carried[0]);
                 MmaThrottleOp::create(b, 1);
                 ReleaseOp::create(b, ring, b.sub(position, 1));
                 return {next};
               })
            .front();
  auto type = FragmentType::get(b.getContext(), accType.getRows(),
                                accType.getColumns());
  Value values = MmaWaitOp::create(b, type, acc);
  ReleaseOp::create(b, ring, b.add(start, kBlocks - 1));
  return values;
}

void GroupedMatmulBuilder::keepTurning(Value start) {
  b.loop(0, kBlocks, {}, [&](Value block, ValueRange) -> SmallVector<Value> {
    Value position = b.add(start, block);
    sleepSometimes(position, 2);
    WaitFullOp::create(b, ring, position, /*gathered=*/false);
    ReleaseOp::create(b, ring, position);
    return {};
  });
}

/// Bias, pairing, row weight, in this order.  `row` and `live` are the first
/// token of the fragment and how many there are; `weightRow` is its first
/// weight row within the expert.
Value GroupedMatmulBuilder::applyEpilogue(Value values, OutputTile tile,
                                          Value row, Value live,
                                          Value weightRow) {
  Axis tokens = spec.swap ? Axis::Columns : Axis::Rows;
  Axis weights = spec.swap ? Axis::Rows : Axis::Columns;
  auto elementwise = [&](Value slice, bool multiply) {
    auto type = cast<FragmentType>(values.getType());
    auto op = EpilogueOp::create(b, type, values, slice, AxisAttr());
    OpBuilder::InsertionGuard guard(b);
    Block *body =
        b.createBlock(&op.getBody(), {}, {b.getF32Type(), b.getF32Type()},
                      {b.getLoc(), b.getLoc()});
    Value x = body->getArgument(0), y = body->getArgument(1);
    Value result = multiply ? arith::MulFOp::create(b, x, y).getResult()
                            : arith::AddFOp::create(b, x, y).getResult();
    YieldOp::create(b, result);
    values = op;
  };
  auto slice = [&](StringRef name, Axis axis, Value first, Value count) {
    auto type = cast<FragmentType>(values.getType());
    return LoadSliceOp::create(
        b,
        SliceType::get(b.getContext(), axis, type.getRows(), type.getColumns()),
        argument(name), first, count);
  };
  if (spec.bias)
    elementwise(slice("bias", weights,
                      b.add(b.mul(tile.expert, spec.n), weightRow),
                      b.sub(spec.n, weightRow)),
                /*multiply=*/false);
  if (spec.isPaired()) {
    auto type = cast<FragmentType>(values.getType());
    bool rows = weights == Axis::Rows;
    auto paired =
        FragmentType::get(b.getContext(), type.getRows() / (rows ? 2 : 1),
                          type.getColumns() / (rows ? 1 : 2));
    auto op = EpilogueOp::create(b, paired, values, ValueRange(),
                                 AxisAttr::get(b.getContext(), weights));
    OpBuilder::InsertionGuard guard(b);
    Block *body =
        b.createBlock(&op.getBody(), {}, {b.getF32Type(), b.getF32Type()},
                      {b.getLoc(), b.getLoc()});
    Value gate = body->getArgument(0), up = body->getArgument(1);
    YieldOp::create(
        b, spec.epilogue == GroupedEpilogue::Swiglu
               ? createSwiglu(b, gate, up)
               : createClampedSwiglu(b, gate, up, spec.alpha, spec.limit));
    values = op;
  }
  if (spec.rowScale)
    elementwise(slice("scale", tokens, row, live), /*multiply=*/true);
  return values;
}

void GroupedMatmulBuilder::consumer() {
  Value consumer = b.sub(b.uniform(b.warpgroup()), 1);
  Value firstRow = b.mul(consumer, wgmmaRows);
  Value staging =
      StagingOp::create(b, stagingType, shared, /*offset=*/0, consumer);
  forEachTile([&](OutputTile tile, Value start) {
    Value row = spec.swap ? tile.row : b.add(tile.row, firstRow);
    Value weightRow = spec.swap ? b.add(tile.column, firstRow) : tile.column;
    // Known to be uniform: branches on it must not look divergent to ptxas.
    Value live = b.uniform(b.sub(tile.end, row));
    Value column = spec.isPaired() ? b.shr(weightRow, 1) : weightRow;
    auto compute = [&] {
      Value values = multiply(start, firstRow);
      values = applyEpilogue(values, tile, row, live, weightRow);
      StoreTileOp::create(b, values, staging, argument("y"), column, row, live,
                          spec.swap);
    };
    if (spec.skipDead)
      b.ifElse(b.less(0, live), compute, [&] { keepTurning(start); });
    else
      compute();
  });
  DrainStoresOp::create(b);
}

LLVM::LLVMFuncOp moe::buildGroupedMatmul(gpu::GPUModuleOp module,
                                         const GroupedMatmulSpec &spec) {
  return buildKernel(
      module, getGroupedMatmulInterface(spec),
      [&](DeviceBuilder &b, LLVM::LLVMFuncOp function) {
        GroupedMatmulBuilder(b, module, function, spec).build();
      },
      Waits::InBody);
}
