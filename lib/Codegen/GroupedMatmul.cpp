// Persistent, warp-specialised kernel: warpgroup 0 fills a ring of K blocks,
// warpgroups 1 and 2 multiply them, 64 rows of the tile each.  Both roles walk
// the same schedule, so the ring position at a tile is a function of the tiles
// before it and never exchanged.
#include "GroupedMatmulEpilogue.h"
#include "GroupedMatmulFactors.h"
#include "GroupedMatmulFp8.h"
#include "GroupedMatmulSchedule.h"
#include "GroupedMatmulTails.h"

#include "dialects/Hopper/HopperDialect.h"
#include "moe/Codegen/DeviceBuilder.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace moe;
using namespace moe::hopper;

namespace {
class GroupedMatmulBuilder {
public:
  GroupedMatmulBuilder(DeviceBuilder &b, gpu::GPUModuleOp module,
                       LLVM::LLVMFuncOp function, const GroupedMatmulSpec &spec)
      : b(b), spec(spec), plan(planGroupedMatmul(spec)), function(function) {
    Type bf16 = b.getBF16Type();
    auto operand = [&](int64_t rows) {
      return TileType::get(b.getContext(), rows, spec.getBlockElements(),
                           spec.fp8 ? Float8E4M3FNType::get(b.getContext())
                                    : bf16);
    };
    ringType =
        RingType::get(b.getContext(), plan.stages,
                      {operand(spec.tileTokens), operand(spec.tileWeights)});
    stagingType = StagingType::get(
        b.getContext(), plan.buffers,
        TileType::get(b.getContext(), plan.boxRows, plan.boxColumns, bf16));
    shared = getDynamicShared(b, b.getLoc(), module);
    kBlocks = llvm::divideCeil(spec.k, spec.getBlockElements());
  }

  void build();

private:
  Value argument(StringRef name);
  void start();
  void meetCluster();
  void producer();
  void gatherProducer();
  void factorProducer();
  void arrive(Value position);
  std::optional<TileFactors> startFactors(OutputTile tile);
  void ask(OutputTile tile, Value rows, Value position, Value i);
  Value askEarly();
  void postTile(OutputTile tile, Value position, Value block);
  void postEnd(Value position);
  void loadTokens(OutputTile tile, Value boxes, Value position, Value block);
  void loadWeights(OutputTile tile, Value position, Value block);
  void consumer();
  using NoteBody = function_ref<SmallVector<Value>(OutputTile, Value live,
                                                   Value start, ValueRange)>;
  void forEachNote(ValueRange held, NoteBody body);
  void consumeTails(Value firstRow, Value staging);
  void consumeTile(OutputTile tile, Value start, Value firstRow, Value staging);
  Value multiply(Value start, Value blocks, Value firstRow);
  void computeTile(OutputTile tile, Value live, Value start, Value firstRow,
                   Value staging);
  void finishTile(OutputTile tile, Value live, Value firstRow, Value staging,
                  Value sum);
  SmallVector<Value> finishTails(OutputTile tile, Value live, Value firstRow,
                                 Value staging, ValueRange sums);
  void keepTurning(Value position, Value blocks);
  Value multiplyFp8(OutputTile tile, Value row, Value live, Value weightRow,
                    Value start, Value firstRow);
  Value loadBias(OutputTile tile, int64_t columns, Value weightRow);
  Value applyEpilogue(Value values, Value bias, Value row, Value live);
  void askPlaces(Value row, Value live);
  void askFactors(Value live);
  void sleepSometimes(Value position, int64_t role);

  DeviceBuilder &b;
  const GroupedMatmulSpec &spec;
  GroupedMatmulPlan plan;
  LLVM::LLVMFuncOp function;
  RingType ringType;
  StagingType stagingType;
  Value shared, ring;
  Value factors; ///< beside the stages
  Value places;  ///< of a consumer's rows, with `scatter`
  Value rank;    ///< of this CTA in its cluster
  int64_t kBlocks;
  std::optional<SplitWork> split;
  std::optional<TileSchedule> schedule;
  std::optional<Turns> turns; ///< of this consumer
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
  if (hasFactors(spec))
    factors = FactorsOp::create(
        b, FactorsType::get(b.getContext(), plan.stages, spec.tileTokens),
        shared, plan.factorsOffset);
  if (spec.cluster > 1)
    rank = NVVM::BlockInClusterIdXOp::create(b, b.getI32Type());
  start();
  if (!spec.weightsFirst)
    b.awaitThenRelease();
  if (spec.cluster > 1)
    meetCluster();
  else
    NVVM::BarrierOp::create(b);
  if (spec.split)
    split.emplace(b, spec, argument("state"),
                  spec.split > 1 ? argument("parts") : Value());
  schedule.emplace(b, spec, plan, argument("offsets"),
                   split ? &*split : nullptr, shared, rank);
  Value warp = b.uniform(b.shr(b.threadId(), 5));
  b.ifElse(
      b.less(warp, 4),
      [&] {
        NVVM::SetMaxRegisterOp::create(b, plan.producerRegisters,
                                       NVVM::SetMaxRegisterAction::decrease);
        if (spec.weightsFirst)
          b.forgetCached();
        if (spec.gather) {
          if (split)
            split->count(argument("offsets"));
          return gatherProducer();
        }
        b.ifThen(b.equal(warp, 0), [&] {
          if (split)
            split->count(argument("offsets"));
          Value elected = NVVM::ElectSyncOp::create(b, b.getI1Type(), Value());
          b.ifThen(elected, [&] { producer(); });
        });
        if (hasFactors(spec))
          b.ifThen(b.less(0, warp), [&] { factorProducer(); });
      },
      [&] {
        NVVM::SetMaxRegisterOp::create(b, plan.consumerRegisters,
                                       NVVM::SetMaxRegisterAction::increase);
        if (spec.weightsFirst)
          b.awaitThenRelease();
        consumer();
      });
  // The other CTA may still load into this one's stages and release them.
  if (spec.cluster > 1)
    meetCluster();
}

/// Not aligned: a producer's lanes arrive one by one.
void GroupedMatmulBuilder::meetCluster() {
  NVVM::ClusterArriveOp::create(b, UnitAttr());
  NVVM::ClusterWaitOp::create(b, UnitAttr());
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
    // One arrival per copying thread, and per thread that makes factors,
    // besides the one that announces the weights.
    int64_t fill = 1 + (spec.gather ? 128 : 0) +
                   (hasFactors(spec) ? getFactorThreads(spec) : 0);
    InitRingOp::create(b, ring, fill,
                       /*drain=*/4 * consumers * spec.cluster);
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
  auto load = [&](int64_t first) {
    TmaLoadOp::create(b, ring, position, weightsTile, argument("w"),
                      b.mul(block, blockColumns), b.add(row, first),
                      first ? b.i32(first) : Value(), spec.blockedWeights,
                      spec.cluster);
  };
  if (spec.cluster > 1)
    return b.ifElse(
        b.equal(rank, 0), [&] { load(0); }, [&] { load(plan.weightsBox); });
  for (int64_t first = 0; first < spec.tileWeights; first += plan.weightsBox)
    load(first);
}

/// With tails only as many boxes as hold live rows.
void GroupedMatmulBuilder::loadTokens(OutputTile tile, Value boxes,
                                      Value position, Value block) {
  Value column = b.mul(block, blockColumns);
  auto load = [&](Value first) {
    Value row = first ? b.add(tile.row, first) : tile.row;
    TmaLoadOp::create(b, ring, position, tokensTile, argument("x"), column, row,
                      first, /*blocked=*/false, /*cluster=*/1);
  };
  if (!spec.tails)
    return load(Value());
  b.loop(0, boxes, {}, [&](Value box, ValueRange) -> SmallVector<Value> {
    load(b.mul(box, plan.tokensBox));
    return {};
  });
}

/// Announces a stage for block `i` of a tile and asks for its weights; `rows`
/// of tokens as well, with tails.
void GroupedMatmulBuilder::ask(OutputTile tile, Value rows, Value position,
                               Value i) {
  postTile(tile, position, i);
  SmallVector<int64_t> whole{weightsTile};
  if (!spec.tails)
    whole = {tokensTile, weightsTile};
  ExpectOp::create(b, ring, position, whole, rows);
  loadWeights(tile, position, b.add(tile.firstBlock, i));
}

/// Asks for what the ring holds of the first tile's weights, then waits for the
/// kernel before.  Gives how many blocks have been asked for.
Value GroupedMatmulBuilder::askEarly() {
  Value zero = b.i32(0);
  NextTileOp first = schedule->find(b.blockId(), zero, zero);
  Value blocks = b.select(first.getValid(), std::min(plan.stages, kBlocks), 0);
  OutputTile tile{first.getNextExpert(),
                  first.getRow(),
                  first.getEnd(),
                  first.getColumn(),
                  zero,
                  blocks,
                  b.i32(-1)};
  b.loop(0, blocks, {}, [&](Value i, ValueRange) -> SmallVector<Value> {
    ask(tile, /*rows=*/Value(), i, i);
    return {};
  });
  b.awaitThenRelease();
  return blocks;
}

void GroupedMatmulBuilder::producer() {
  Value asked = spec.weightsFirst ? askEarly() : Value();
  Value last = schedule->forEach([&](OutputTile tile, Value start) {
    Value boxes, rows;
    if (spec.tails) {
      boxes = b.ceilDiv(b.sub(tile.end, tile.row), plan.tokensBox);
      rows = b.mul(boxes, plan.tokensBox);
    }
    b.loop(0, tile.blocks, {}, [&](Value i, ValueRange) -> SmallVector<Value> {
      Value position = b.add(start, i), block = b.add(tile.firstBlock, i);
      sleepSometimes(position, 0);
      AcquireOp::create(b, ring, position);
      auto askNow = [&] { ask(tile, rows, position, i); }; // from afar: first
      if (asked)
        b.ifThen(b.less(b.sub(asked, 1), position), askNow);
      else
        askNow();
      loadTokens(tile, boxes, position, block);
      return {};
    });
  });
  if (spec.tails || split) {
    AcquireOp::create(b, ring, last);
    postEnd(last);
  }
}

/// With tails and tickets the consumers learn a tile from the note beside its
/// first stage: finding it takes several divisions, which the producer has time
/// for, or a ticket, which only the producer has.
void GroupedMatmulBuilder::postTile(OutputTile tile, Value position,
                                    Value block) {
  if (!spec.tails && !split)
    return;
  b.ifThen(b.equal(block, 0), [&] {
    Value live = b.sub(tile.end, tile.row);
    if (split)
      live = split->encode(b.min(live, spec.tileTokens), tile.part);
    WriteNoteOp::create(b, ring, position, tile.row, live, tile.column,
                        tile.expert);
  });
}

/// One more stage that brings nothing but the news that there are no tiles: a
/// negative number of rows.
void GroupedMatmulBuilder::postEnd(Value position) {
  Value none = b.i32(-1);
  WriteNoteOp::create(b, ring, position, none, none, none, none);
  arrive(position);
}

/// All 128 threads copy rows of x; one of them also asks for the weights.
void GroupedMatmulBuilder::gatherProducer() {
  Value leader = b.equal(b.threadId(), 0);
  auto rowsType =
      GatheredType::get(b.getContext(), ringType.getTiles()[tokensTile]);
  Value last = schedule->forEach([&](OutputTile tile, Value start) {
    Value live = spec.tails ? b.sub(tile.end, tile.row) : Value();
    Value rows =
        GatherRowsOp::create(b, rowsType, argument("x"),
                             spec.gatherIndex ? argument("index") : Value(),
                             tile.row, tile.end, spec.k, spec.gatherDivisor);
    std::optional<TileFactors> made = startFactors(tile);
    SmallVector<Value> first;
    if (made)
      first = made->begin();
    b.loop(0, tile.blocks, first, [&](Value i, ValueRange carried) {
      Value position = b.add(start, i), block = b.add(tile.firstBlock, i);
      SmallVector<Value> next;
      if (made)
        next = made->ask(i);
      sleepSometimes(position, 0);
      AcquireOp::create(b, ring, position);
      b.ifThen(leader, [&] {
        postTile(tile, position, i);
        ExpectOp::create(b, ring, position, ArrayRef<int64_t>{weightsTile},
                         /*rows=*/Value());
        loadWeights(tile, position, block);
      });
      GatherLoadOp::create(b, ring, position, tokensTile, rows,
                           b.mul(block, spec.getBlockElements()), live, spec.k);
      CommitOp::create(b, ring, position);
      if (made) {
        next = made->write(factors, position, i, carried, next);
        arrive(position);
      }
      return next;
    });
  });
  if (spec.tails || split) {
    AcquireOp::create(b, ring, last);
    b.ifThen(leader, [&] { postEnd(last); });
    CommitOp::create(b, ring, last);
    if (hasFactors(spec))
      arrive(last);
  }
}

std::optional<TileFactors> GroupedMatmulBuilder::startFactors(OutputTile tile) {
  if (!hasFactors(spec))
    return std::nullopt;
  bool named = spec.gather && spec.gatherIndex;
  return TileFactors(b, spec,
                     {argument("x_scale"), argument("scale_rows"),
                      argument("w_scale"), named ? argument("index") : Value()},
                     tile);
}

/// Brings no bytes.
void GroupedMatmulBuilder::arrive(Value position) {
  ExpectOp::create(b, ring, position, ArrayRef<int64_t>(), /*rows=*/Value());
}

/// Where TMA brings the tokens: threads of the warps that do not ask for them.
void GroupedMatmulBuilder::factorProducer() {
  Value last = schedule->forEach([&](OutputTile tile, Value start) {
    TileFactors made = *startFactors(tile);
    b.loop(0, tile.blocks, made.begin(), [&](Value i, ValueRange carried) {
      Value position = b.add(start, i);
      SmallVector<Value> asked = made.ask(i);
      sleepSometimes(position, 3);
      AcquireOp::create(b, ring, position);
      SmallVector<Value> next =
          made.write(factors, position, i, carried, asked);
      arrive(position);
      return next;
    });
  });
  AcquireOp::create(b, ring, last);
  arrive(last);
}

//===----------------------------------------------------------------------===//
// Consumer
//===----------------------------------------------------------------------===//

/// The products of all K blocks; one group stays in flight: a stage is released
/// when the group after it has been issued.  The first block starts the sum, so
/// it is never zeroed.
Value GroupedMatmulBuilder::multiply(Value start, Value blocks,
                                     Value firstRow) {
  int64_t columns = spec.swap ? spec.tileTokens : spec.tileWeights;
  auto accType = AccumulatorType::get(b.getContext(), wgmmaRows, columns);
  int64_t lhs = spec.swap ? weightsTile : tokensTile;
  int64_t rhs = spec.swap ? tokensTile : weightsTile;
  auto issue = [&](Value position, Value sum) -> Value {
    return MmaOp::create(b, accType, ring, position, lhs, firstRow, rhs, sum);
  };
  // With a note the tile was read from the first stage.
  if (!split)
    WaitFullOp::create(b, ring, start, spec.gather);
  Value sum = issue(start, Value());
  sum = b.loop(1, blocks, sum,
               [&](Value block, ValueRange carried) -> SmallVector<Value> {
                 Value position = b.add(start, block);
                 sleepSometimes(position, 1);
                 WaitFullOp::create(b, ring, position, spec.gather);
                 Value next = issue(position, carried.front());
                 MmaThrottleOp::create(b, 1);
                 ReleaseOp::create(b, ring, b.sub(position, 1),
                                   /*when=*/Value(), spec.cluster);
                 return {next};
               })
            .front();
  sum = MmaWaitOp::create(b, sum).getResult(0);
  ReleaseOp::create(b, ring, b.add(start, b.sub(blocks, 1)), /*when=*/Value(),
                    spec.cluster);
  return sum;
}

Value GroupedMatmulBuilder::multiplyFp8(OutputTile tile, Value row, Value live,
                                        Value weightRow, Value start,
                                        Value firstRow) {
  auto beforeStage = [&](Value position) { sleepSometimes(position, 1); };
  ScaledProduct product{spec,
                        ring,
                        argument("x_scale"),
                        argument("scale_rows"),
                        argument("w_scale"),
                        beforeStage,
                        turns ? &*turns : nullptr};
  ScaledTile place{tile.expert, row, live, weightRow, firstRow, start};
  return multiplyScaled(b, product, place);
}

void GroupedMatmulBuilder::keepTurning(Value start, Value blocks) {
  b.loop(0, blocks, {}, [&](Value block, ValueRange) -> SmallVector<Value> {
    Value position = b.add(start, block);
    sleepSometimes(position, 2);
    WaitFullOp::create(b, ring, position, /*gathered=*/false);
    ReleaseOp::create(b, ring, position, /*when=*/Value(), /*cluster=*/1);
    return {};
  });
}

/// For a fragment of so many columns whose first weight row within the expert
/// is `weightRow`; null without bias.
Value GroupedMatmulBuilder::loadBias(OutputTile tile, int64_t columns,
                                     Value weightRow) {
  if (!spec.bias)
    return Value();
  auto type =
      SliceType::get(b.getContext(), spec.swap ? Axis::Rows : Axis::Columns,
                     wgmmaRows, columns);
  Value first = b.add(b.mul(tile.expert, spec.n), weightRow);
  return LoadSliceOp::create(b, type, argument("bias"), first,
                             b.sub(spec.n, weightRow));
}

/// `row` and `live` are the first token of the fragment and how many there are.
Value GroupedMatmulBuilder::applyEpilogue(Value values, Value bias, Value row,
                                          Value live) {
  return createEpilogue(b, spec, values, bias, [&](SliceType type) -> Value {
    return LoadSliceOp::create(b, type, argument("scale"), row, live);
  });
}

/// Asked for before the products, during which they come.
void GroupedMatmulBuilder::askPlaces(Value row, Value live) {
  if (spec.scatter)
    AskPlacesOp::create(b, places, argument("places"), row, live);
}

/// They come while the epilogue is computed.
void GroupedMatmulBuilder::askFactors(Value live) {
  if (spec.scatterFactors)
    AskFactorsOp::create(b, places, argument("factors"), live);
}

/// Products, epilogue and store of one tile; `live` of its tokens are stored.
void GroupedMatmulBuilder::computeTile(OutputTile tile, Value live, Value start,
                                       Value firstRow, Value staging) {
  Value row = spec.swap ? tile.row : b.add(tile.row, firstRow);
  askPlaces(row, live);
  if (spec.fp8) {
    Value weightRow = spec.swap ? b.add(tile.column, firstRow) : tile.column;
    return finishTile(tile, live, firstRow, staging,
                      multiplyFp8(tile, row, live, weightRow, start, firstRow));
  }
  Value sum = multiply(start, tile.blocks, firstRow);
  if (spec.split <= 1)
    return finishTile(tile, live, firstRow, staging, sum);
  Value consumer = b.shr(firstRow, 6);
  Value isLast = split->leave(sum, tile.part, consumer);
  b.ifThen(isLast, [&] {
    finishTile(tile, live, firstRow, staging,
               split->gather(sum, tile.part, consumer));
  });
}

void GroupedMatmulBuilder::finishTile(OutputTile tile, Value live,
                                      Value firstRow, Value staging,
                                      Value sum) {
  Value row = spec.swap ? tile.row : b.add(tile.row, firstRow);
  Value weightRow = spec.swap ? b.add(tile.column, firstRow) : tile.column;
  Value column = spec.isPaired() ? b.shr(weightRow, 1) : weightRow;
  int64_t columns = cast<FragmentType>(sum.getType()).getColumns();
  askFactors(live);
  Value bias = loadBias(tile, columns, weightRow);
  Value values = applyEpilogue(sum, bias, row, live);
  if (spec.scatter)
    ScatterTileOp::create(b, values, staging, places, argument("y"), column,
                          live, spec.n, spec.scatterFactors, spec.swap);
  else if (spec.quantize)
    StoreQuantizedOp::create(b, values, staging, argument("y"), column, row,
                             live, spec.getOutputColumns(), argument("y_scale"),
                             argument("scale_rows"));
  else
    StoreTileOp::create(b, values, staging, argument("y"), column, row, live,
                        spec.swap);
}

/// With tails; gives fragments that the next tile begins in.
SmallVector<Value> GroupedMatmulBuilder::finishTails(OutputTile tile,
                                                     Value live, Value firstRow,
                                                     Value staging,
                                                     ValueRange sums) {
  Value weightRow = b.add(tile.column, firstRow);
  Value column = spec.isPaired() ? b.shr(weightRow, 1) : weightRow;
  // Before the pieces, which may be passed over.
  SmallVector<Value> biases(plan.fragments);
  for (auto [i, bias] : llvm::enumerate(biases))
    bias =
        loadBias(tile, getPieceTokens(spec), b.add(weightRow, i * wgmmaRows));
  askFactors(live);
  auto send = [&](int64_t boxes, Value column) {
    if (spec.scatter)
      ScatterStagingOp::create(b, staging, boxes, places, argument("y"), column,
                               live, spec.n, spec.scatterFactors);
    else
      SendStagingOp::create(b, staging, boxes, argument("y"), column, tile.row,
                            live);
  };
  return storeLive(b, {staging, column, live, getPieceTokens(spec), send}, sums,
                   [&](Piece piece) {
                     return applyEpilogue(piece.values, biases[piece.fragment],
                                          b.add(tile.row, piece.first),
                                          b.sub(live, piece.first));
                   });
}

/// Calls `body` with each tile that the producer notes, how many of its rows
/// are live, the ring position where it begins, and values that `body` gives on
/// to the next tile, at first `held`.
void GroupedMatmulBuilder::forEachNote(ValueRange held, NoteBody body) {
  enum { Position, Row, Code, Column, Expert, Held };
  SmallVector<Value> first(Held, b.i32(0));
  llvm::append_range(first, held);
  b.loopWhile(
      first,
      [&](ValueRange s) -> std::pair<Value, SmallVector<Value>> {
        sleepSometimes(s[Position], 1);
        WaitFullOp::create(b, ring, s[Position], spec.gather);
        auto note = ReadNoteOp::create(b, SmallVector<Type>(4, b.getI32Type()),
                                       ring, s[Position]);
        // Known to be uniform: branches on it must not look divergent to ptxas.
        Value code = b.uniform(note.getB());
        SmallVector<Value> next{s[Position], note.getA(), code, note.getC(),
                                note.getD()};
        llvm::append_range(next, s.drop_front(Held));
        return {b.less(-1, code), next};
      },
      [&](ValueRange s) -> SmallVector<Value> {
        Value live = s[Code], part, blocks = b.i32(kBlocks);
        if (split) {
          std::tie(live, part) = split->decode(s[Code]);
          blocks = split->getBlocks(part).count;
        }
        SmallVector<Value> after =
            body({s[Expert], s[Row], b.add(s[Row], live), s[Column],
                  /*firstBlock=*/Value(), blocks, part},
                 live, s[Position], s.drop_front(Held));
        SmallVector<Value> next{b.add(s[Position], blocks), s[Row], s[Code],
                                s[Column], s[Expert]};
        llvm::append_range(next, after);
        return next;
      });
}

void GroupedMatmulBuilder::consumeTails(Value firstRow, Value staging) {
  auto beforeStage = [&](Value position) { sleepSometimes(position, 1); };
  // Of gate and of up, or of a consumer's own 128 weight rows.
  SmallVector<Value> weightFactors;
  if (spec.isPaired())
    weightFactors = {b.i32(0), b.i32(1)};
  else
    weightFactors = {b.shr(firstRow, 7)};
  forEachNote(createHeldFragments(b, spec, plan.fragments),
              [&](OutputTile tile, Value live, Value start, ValueRange held) {
                askPlaces(tile.row, live);
                SidesProduct product{spec,
                                     plan.sides,
                                     ring,
                                     firstRow,
                                     start,
                                     tile.blocks,
                                     live,
                                     beforeStage,
                                     factors,
                                     weightFactors,
                                     turns ? &*turns : nullptr};
                return finishTails(tile, live, firstRow, staging,
                                   multiplySides(b, product, held));
              });
}

void GroupedMatmulBuilder::consumeTile(OutputTile tile, Value start,
                                       Value firstRow, Value staging) {
  Value row = spec.swap ? tile.row : b.add(tile.row, firstRow);
  // Known to be uniform: branches on it must not look divergent to ptxas.
  Value live = b.uniform(b.sub(tile.end, row));
  auto compute = [&] { computeTile(tile, live, start, firstRow, staging); };
  if (spec.skipDead)
    b.ifElse(b.less(0, live), compute,
             [&] { keepTurning(start, tile.blocks); });
  else
    compute();
}

void GroupedMatmulBuilder::consumer() {
  Value consumer = b.sub(b.uniform(b.warpgroup()), 1);
  Value firstRow = b.mul(consumer, wgmmaRows * plan.fragments);
  Value staging =
      StagingOp::create(b, stagingType, shared, /*offset=*/0, consumer);
  if (spec.scatter)
    places =
        PlacesOp::create(b, PlacesType::get(b.getContext(), plan.placeRows),
                         shared, plan.placesOffset, consumer);
  if (spec.inTurn)
    turns.emplace(b, consumer).begin();
  if (spec.tails)
    consumeTails(firstRow, staging);
  else if (split)
    forEachNote({}, [&](OutputTile tile, Value, Value start, ValueRange) {
      consumeTile(tile, start, firstRow, staging);
      return SmallVector<Value>();
    });
  else
    schedule->forEach([&](OutputTile tile, Value start) {
      consumeTile(tile, start, firstRow, staging);
    });
  if (turns)
    turns->end();
  if (!spec.scatter)
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
