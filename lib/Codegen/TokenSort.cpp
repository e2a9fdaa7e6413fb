// Counting sort.  Each warp owns a run of consecutive pairs; within 32 of them
// `match.any` finds the lanes of equal bin, whose order is the lanes' order.
// Rows of a bin are ordered by (CTA, warp, position): stable and
// deterministic.
#include "moe/Codegen/TokenSort.h"
#include "moe/Codegen/DeviceBuilder.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace moe;

static constexpr int64_t singleWarps = 32, sharedWarps = 8;
static constexpr int64_t maxBins = 1024;
/// What `status` becomes, as moert_failure has it.
static constexpr int32_t noExpert = 1, duplicateId = 2;

static int64_t getWarps(const TokenSortSpec &spec) {
  return spec.stage == TokenSortStage::Single ? singleWarps : sharedWarps;
}

LogicalResult
moe::verifyTokenSort(const TokenSortSpec &spec,
                     function_ref<InFlightDiagnostic()> emitError) {
  if (spec.experts < 1 || spec.topK < 1)
    return emitError() << "token sort of " << spec.experts << " experts, top "
                       << spec.topK << ", expected both positive";
  if (spec.group < 1 || spec.getSlots() % spec.group)
    return emitError() << "token sort has bins of " << spec.group
                       << " slots, expected a divisor of " << spec.getSlots();
  if (spec.getBins() > maxBins)
    return emitError() << "token sort has " << spec.getBins()
                       << (spec.group == 1 ? " slots" : " bins")
                       << ", expected at most " << maxBins;
  if (spec.getSlots() != spec.experts && !spec.table && !spec.window &&
      spec.placement.empty())
    return emitError() << "token sort has " << spec.getSlots() << " slots for "
                       << spec.experts
                       << " experts, expected a table that says which";
  if (!spec.placement.empty() &&
      static_cast<int64_t>(spec.placement.size()) != spec.experts)
    return emitError() << "token sort places " << spec.placement.size()
                       << " experts, expected " << spec.experts;
  if (spec.table && (spec.window || !spec.placement.empty()))
    return emitError() << "token sort has a table of slots and a window or "
                          "placement, expected one of them";
  return success();
}

KernelInterface moe::getTokenSortInterface(const TokenSortSpec &spec) {
  KernelInterface interface;
  interface.name = spec.name;
  interface.threads = 32 * getWarps(spec);
  // One histogram per warp, then first rows, then the rows of earlier CTAs.
  interface.sharedBytes = 4 * spec.getBins() * (getWarps(spec) + 2) + 4;
  auto add = [&](StringRef name, ParameterKind kind = ParameterKind::Pointer) {
    interface.parameters.push_back({name.str(), kind});
  };
  add("ids");
  if (spec.table)
    add("slots");
  if (spec.stage != TokenSortStage::Single)
    add("counts");
  if (spec.stage != TokenSortStage::Count)
    for (StringRef name : {"order", "tokens", "positions", "offsets"})
      if (name != "tokens" || spec.tokens)
        add(name);
  add("status");
  if (spec.window)
    add("first", ParameterKind::Integer);
  add("pairs", ParameterKind::Integer);
  return interface;
}

namespace {
class TokenSortBuilder {
public:
  TokenSortBuilder(DeviceBuilder &b, gpu::GPUModuleOp module,
                   LLVM::LLVMFuncOp function, const TokenSortSpec &spec)
      : b(b), spec(spec), function(function), bins(spec.getBins()),
        warps(getWarps(spec)) {
    histograms = getDynamicShared(b, b.getLoc(), module);
    firstRows = b.atByte(histograms, 4 * bins * warps);
    earlier = b.atByte(histograms, 4 * bins * (warps + 1) + 4);
    lane = b.lane();
    if (!spec.placement.empty())
      placement = makePlacement(module);
    warp = b.uniform(b.shr(b.threadId(), 5));
    mine = b.atElement(histograms, b.getI32Type(), b.mul(warp, bins));
  }

  void build();

private:
  /// The lanes of one step: what a lane's pair is, where it belongs.
  struct Step {
    Value pair, inRange, bin, kept, rank, peers;
  };

  Value argument(StringRef name);
  Value makePlacement(gpu::GPUModuleOp module);
  Value slotOf(Value expert);
  Value binOf(Value expert);
  Value isRepeated(Value pair, Value bin);
  Value word(Value array, Operand index) {
    return b.load(b.getI32Type(), b.atElement(array, b.getI32Type(), index));
  }
  void setWord(Value array, Operand index, Value value) {
    b.store(value, b.atElement(array, b.getI32Type(), index));
  }
  void forEachBin(function_ref<void(Value)> body);
  Value ask(Value pair);
  Step makeStep(Value pair, Value id, bool mayBeNone);
  void forEachStep(const std::optional<Step> &first,
                   function_ref<void(const Step &)> body);
  void count(const Step &step);
  void scanWarps();
  void sumBlocks(Value bin);
  void scanBins();
  void place(const Step &step);

  DeviceBuilder &b;
  const TokenSortSpec &spec;
  LLVM::LLVMFuncOp function;
  int64_t bins, warps;
  Value histograms, firstRows, earlier, lane, warp, mine, placement;
  Value steps, firstPair; // of this warp, of this lane
};
} // namespace

Value TokenSortBuilder::argument(StringRef name) {
  KernelInterface interface = getTokenSortInterface(spec);
  for (auto [i, parameter] : llvm::enumerate(interface.parameters))
    if (parameter.name == name)
      return function.getArgument(i);
  llvm_unreachable("no such parameter");
}

/// The slots of all experts as a constant array.
Value TokenSortBuilder::makePlacement(gpu::GPUModuleOp module) {
  OpBuilder outer = OpBuilder::atBlockBegin(module.getBody());
  auto values = outer.getI32TensorAttr(spec.placement);
  auto global = LLVM::GlobalOp::create(
      outer, b.getLoc(), LLVM::LLVMArrayType::get(b.getI32Type(), spec.experts),
      /*isConstant=*/true, LLVM::Linkage::Internal, "placement", values,
      /*alignment=*/4, /*addrSpace=*/1);
  return LLVM::AddressOfOp::create(b, global);
}

/// The slot of an expert here, -1 or another negative number if it is
/// elsewhere.
Value TokenSortBuilder::slotOf(Value expert) {
  if (spec.table)
    return word(argument("slots"), expert);
  Value slot = placement ? word(placement, expert) : expert;
  if (!spec.window)
    return slot;
  Value local = b.sub(slot, argument("first"));
  Value inside = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, local,
                                       b.i32(spec.getSlots()));
  return b.select(inside, local, -1);
}

/// The bin of an expert, -1 or another negative number if it is elsewhere.
Value TokenSortBuilder::binOf(Value expert) {
  Value slot = slotOf(expert);
  if (spec.group == 1)
    return slot;
  Value bin = b.div(b.max(slot, 0), spec.group);
  return b.select(b.less(slot, 0), slot, bin);
}

/// Whether a pair before this one has brought its token to the bin.
Value TokenSortBuilder::isRepeated(Value pair, Value bin) {
  Value last = b.sub(argument("pairs"), 1);
  Value place = b.rem(pair, spec.topK), first = b.sub(pair, place);
  SmallVector<Value> found = b.loop(
      0, spec.topK - 1, {b.i32(0)},
      [&](Value before, ValueRange carried) -> SmallVector<Value> {
        Value id = word(argument("ids"), b.min(b.add(first, before), last));
        Value known = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, id,
                                            b.i32(spec.experts));
        Value same = b.both(known, b.equal(binOf(b.select(known, id, 0)), bin));
        same = b.both(same, b.less(before, place));
        return {b.select(same, 1, carried[0])};
      });
  return b.equal(found[0], 1);
}

void TokenSortBuilder::build() {
  Value pairs = argument("pairs"), zero = b.i32(0);
  Value all = b.mul(b.gridSize(), warps);
  steps = b.div(b.add(pairs, b.sub(b.mul(all, 32), 1)), b.mul(all, 32));
  Value run = b.add(b.mul(b.blockId(), warps), warp);
  firstPair = b.add(b.mul(b.mul(run, steps), 32), lane);
  // One CTA has one step, mostly: its ids come while counts are cleared.
  bool alone = spec.stage == TokenSortStage::Single;
  Value id = alone ? ask(firstPair) : Value();
  forEachBin([&](Value bin) {
    for (int64_t w = 0; w < warps; ++w)
      setWord(histograms, b.add(bin, w * bins), zero);
  });
  std::optional<Step> first;
  if (alone)
    first = makeStep(firstPair, id, /*mayBeNone=*/true);
  NVVM::BarrierOp::create(b);
  forEachStep(first, [&](const Step &step) { count(step); });
  NVVM::BarrierOp::create(b);
  scanWarps();
  if (spec.stage == TokenSortStage::Count)
    return;
  NVVM::BarrierOp::create(b);
  scanBins();
  NVVM::BarrierOp::create(b);
  forEachStep(first, [&](const Step &step) { place(step); });
}

/// Bins are shared out over the threads of the CTA.
void TokenSortBuilder::forEachBin(function_ref<void(Value)> body) {
  int64_t threads = 32 * warps;
  b.loop(0, (bins + threads - 1) / threads, {},
         [&](Value round, ValueRange) -> SmallVector<Value> {
           Value bin = b.add(b.mul(round, threads), b.threadId());
           b.ifThen(b.less(bin, bins), [&] { body(bin); });
           return {};
         });
}

/// The id of a pair, or none: there may be no pair at all.
Value TokenSortBuilder::ask(Value pair) {
  return b
      .choose(
          b.less(pair, argument("pairs")),
          [&] { return SmallVector{word(argument("ids"), pair)}; },
          [&] { return SmallVector{b.i32(-1)}; })
      .front();
}

/// With `mayBeNone` there may be no pair at all, not even another one's id.
TokenSortBuilder::Step TokenSortBuilder::makeStep(Value pair, Value id,
                                                  bool mayBeNone) {
  Step step;
  step.pair = pair;
  step.inRange = b.less(pair, argument("pairs"));
  Value known = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, id,
                                      b.i32(spec.experts));
  Value bin = binOf(b.select(known, id, 0));
  Value valid = b.both(step.inRange, known);
  b.ifThen(b.both(step.inRange,
                  b.equal(arith::ExtUIOp::create(b, b.getI32Type(), known), 0)),
           [&] { setWord(argument("status"), 0, b.i32(noExpert)); });
  if (spec.keepsFirst()) {
    auto isKnown = [&] { return SmallVector{isRepeated(pair, bin)}; };
    Value repeated =
        mayBeNone ? b.choose(step.inRange, isKnown,
                             [&] { return SmallVector{b.boolean(false)}; })[0]
                  : isKnown()[0];
    if (spec.group == 1)
      b.ifThen(b.both(b.both(valid, b.less(-1, bin)), repeated),
               [&] { setWord(argument("status"), 0, b.i32(duplicateId)); });
    valid = b.both(valid, b.equal(b.select(repeated, 1, 0), 0));
  }
  step.bin = b.select(valid, bin, -1);
  step.kept = b.less(-1, step.bin);
  step.peers = NVVM::MatchSyncOp::create(b, b.getI32Type(), b.i32(-1), step.bin,
                                         NVVM::MatchSyncKind::any);
  Value before = b.sub(b.shl(1, lane), 1);
  step.rank = LLVM::CtPopOp::create(b, b.bitAnd(step.peers, before));
  return step;
}

/// `first` is the first step, where that is made already.
void TokenSortBuilder::forEachStep(const std::optional<Step> &first,
                                   function_ref<void(const Step &)> body) {
  if (first)
    body(*first);
  Value last = b.sub(argument("pairs"), 1);
  b.loop(first ? 1 : 0, steps, {},
         [&](Value number, ValueRange) -> SmallVector<Value> {
           Value pair = b.add(firstPair, b.mul(number, 32));
           body(makeStep(pair, word(argument("ids"), b.min(pair, last)),
                         /*mayBeNone=*/false));
           return {};
         });
}

void TokenSortBuilder::count(const Step &step) {
  b.ifThen(b.both(step.kept, b.equal(step.rank, 0)), [&] {
    Value size = LLVM::CtPopOp::create(b, step.peers);
    setWord(mine, step.bin, b.add(word(mine, step.bin), size));
  });
  NVVM::SyncWarpOp::create(b, b.i32(-1)); // the next step's lanes see it
}

/// Turns each warp's count of a bin into the rows of that bin in the warps
/// before it.
void TokenSortBuilder::scanWarps() {
  forEachBin([&](Value bin) {
    Value sum = b.i32(0);
    SmallVector<Value> sizes; // all asked for before the first is used
    for (int64_t w = 0; w < warps; ++w)
      sizes.push_back(word(histograms, b.add(bin, w * bins)));
    for (auto [w, size] : llvm::enumerate(sizes)) {
      setWord(histograms, b.add(bin, w * bins), sum);
      sum = b.add(sum, size);
    }
    if (spec.stage == TokenSortStage::Single) {
      setWord(firstRows, bin, sum);
      setWord(earlier, bin, b.i32(0));
    } else if (spec.stage == TokenSortStage::Count) {
      setWord(argument("counts"), b.add(b.mul(b.blockId(), bins), bin), sum);
    } else {
      sumBlocks(bin);
    }
  });
}

/// Rows of a bin in all CTAs and in those before this one.
void TokenSortBuilder::sumBlocks(Value bin) {
  Value zero = b.i32(0), block = b.blockId();
  auto sums =
      b.loop(0, b.gridSize(), {zero, zero},
             [&](Value other, ValueRange carried) -> SmallVector<Value> {
               Value size =
                   word(argument("counts"), b.add(b.mul(other, bins), bin));
               Value before = b.select(b.less(other, block), size, 0);
               return {b.add(carried[0], size), b.add(carried[1], before)};
             });
  setWord(firstRows, bin, sums[0]);
  setWord(earlier, bin, sums[1]);
}

/// Warp 0 turns the rows of each bin into its first row.
void TokenSortBuilder::scanBins() {
  Value firstBlock = b.equal(b.blockId(), 0);
  b.ifThen(b.equal(warp, 0), [&] {
    SmallVector<Value> sizes;
    for (int64_t base = 0; base < bins; base += 32) {
      Value bin = b.add(lane, base);
      sizes.push_back(b.select(b.less(bin, bins),
                               word(firstRows, b.min(bin, bins - 1)), 0));
    }
    NVVM::SyncWarpOp::create(b, b.i32(-1)); // lanes past the end read too
    SmallVector<Value> sums = sizes;
    b.addFromBelow(sums);
    Value carry = b.i32(0);
    for (auto [round, sum] : llvm::enumerate(sums)) {
      Value bin = b.add(lane, 32 * round);
      Value inside = b.less(bin, bins);
      Value first = b.add(carry, b.sub(sum, sizes[round]));
      b.ifThen(inside, [&] { setWord(firstRows, bin, first); });
      b.ifThen(b.both(inside, firstBlock),
               [&] { setWord(argument("offsets"), bin, first); });
      carry = b.add(carry, b.fromLane(sum, 31));
    }
    b.ifThen(b.both(firstBlock, b.equal(lane, 0)),
             [&] { setWord(argument("offsets"), bins, carry); });
  });
}

void TokenSortBuilder::place(const Step &step) {
  Value bin = b.max(step.bin, 0);
  Value before = word(mine, bin);
  Value row = b.add(b.add(word(firstRows, bin), word(earlier, bin)),
                    b.add(before, step.rank));
  NVVM::SyncWarpOp::create(b, b.i32(-1)); // all lanes have read `before`
  b.ifThen(step.kept, [&] {
    b.ifThen(b.equal(step.rank, 0), [&] {
      Value size = LLVM::CtPopOp::create(b, step.peers);
      setWord(mine, bin, b.add(before, size));
    });
    setWord(argument("order"), row, step.pair);
    if (spec.tokens)
      setWord(argument("tokens"), row, b.div(step.pair, spec.topK));
  });
  b.ifThen(step.inRange, [&] {
    setWord(argument("positions"), step.pair, b.select(step.kept, row, -1));
  });
  NVVM::SyncWarpOp::create(b, b.i32(-1));
}

LLVM::LLVMFuncOp moe::buildTokenSort(gpu::GPUModuleOp module,
                                     const TokenSortSpec &spec) {
  return buildKernel(module, getTokenSortInterface(spec),
                     [&](DeviceBuilder &b, LLVM::LLVMFuncOp function) {
                       TokenSortBuilder(b, module, function, spec).build();
                     });
}
