// Two phases of dot products of weight rows, streamed by every warp for itself
// through its own ring of asynchronous copies: gate and up rows against x, then
// rows of down against h.  The copies of the second phase begin while the first
// one ends; between them stands a wait for all shares of the first.
//
// One more warp, without units, controls: routing, tickets, the wait.  It has
// no copies in flight, for which its fence would wait.
#include "FewRowsBuilder.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace moe;
using namespace moe::fewrows;

Value FewRowsBuilder::argument(StringRef name) {
  KernelInterface interface = getFewRowsInterface(spec);
  for (auto [i, parameter] : llvm::enumerate(interface.parameters))
    if (parameter.name == name) {
      Value value = function.getArgument(i);
      return parameter.kind == ParameterKind::Integer ? value
                                                      : b.toGlobal(value);
    }
  llvm_unreachable("no such parameter");
}

Value FewRowsBuilder::rowAddress(StringRef name, Value row, int64_t pitch,
                                 Value byte) {
  Value offset = arith::MulIOp::create(b, wide(row), b.i64(pitch));
  offset = arith::AddIOp::create(b, offset, wide(byte));
  return b.atElement(argument(name), b.getI8Type(), offset);
}

/// Up to some microseconds, different per role, warp, CTA and step.
void FewRowsBuilder::sleepSometimes(Value position, int64_t role) {
  if (!spec.jitter)
    return;
  Value seed = b.add(b.add(position, b.mul(b.blockId(), 977)),
                     b.add(b.mul(warp, 131), role * 7919));
  Value mixed = b.shr(b.mul(seed, 0x2C1B3C6D), 20);
  Value odd = b.equal(b.bitAnd(b.bitXor(lane, mixed), 3), 0);
  b.ifThen(odd, [&] { NVVM::NanosleepOp::create(b, mixed); });
}

void FewRowsBuilder::build() {
  thread = b.threadId();
  lane = b.lane();
  warp = b.uniform(b.shr(thread, 5));
  tokens = argument("tokens");
  quad = b.bitAnd(lane, 3);
  Value row = b.shr(lane, 2);
  line = b.rem(row, plan.lines);
  slice = b.div(row, plan.lines);
  int64_t perChunk = 16 / plan.elementBytes;
  firstColumn = b.add(b.mul(slice, plan.lineElements), b.mul(quad, perChunk));
  copiedLine = plan.blocks == 1 ? line : b.shr(lane, 3);
  copiedColumn =
      plan.blocks == 1 ? firstColumn : b.mul(b.bitAnd(lane, 7), perChunk);

  if (plan.xShared)
    copyTokens();
  NVVM::CpAsyncCommitGroupOp::create(b);
  b.ifThen(b.equal(warp, plan.warps), [&] { readRouting(); });
  NVVM::BarrierOp::create(b);
  count = b.uniform(word(plan.scalars, listed));
  Value blocks = b.mul(count, plan.downBlocks);
  downSteps = b.max(b.ceilDiv(blocks, plan.downWarps), 1);
  Value first = b.uniform(word(plan.scalars, ticket));
  b.ifElse(
      b.less(first, spec.shares),
      [&] {
        if (spec.maxTokens > 1)
          mapPairs();
        SmallVector<Value> state = runShares(first);
        if (plan.hShared)
          copyHidden();
        NVVM::BarrierOp::create(b);
        Value owned = state.back();
        state.pop_back();
        // The last share first: its copies are under way.
        b.loop(0, b.add(owned, 1), state,
               [&](Value i, ValueRange carried) -> SmallVector<Value> {
                 Value again = b.less(0, i);
                 Value number =
                     b.select(again, word(plan.owned, b.max(b.sub(i, 1), 0)),
                              carried[0]);
                 Share share = getShare(b.uniform(number));
                 Value zero = b.i32(0);
                 auto positions =
                     scf::IfOp::create(b, TypeRange{i32, i32, i32, i32}, again,
                                       /*withElseRegion=*/true);
                 {
                   OpBuilder::InsertionGuard guard(b);
                   b.setInsertionPointToStart(positions.thenBlock());
                   // Buffers of sums are free, copies of before done.
                   NVVM::BarrierOp::create(b);
                   NVVM::CpAsyncWaitGroupOp::create(b, 0);
                   Cursor after;
                   Value slot;
                   prologue(share, {share.upUnits, zero}, after, slot);
                   scf::YieldOp::create(
                       b, ValueRange{after.unit, after.step, slot, zero});
                   b.setInsertionPointToStart(positions.elseBlock());
                   scf::YieldOp::create(b, carried.drop_front());
                 }
                 SmallVector<Value> next =
                     consume(Down, share, positions.getResults());
                 return {carried[0], next[0], next[1], next[2], next[3]};
               });
      },
      [&] { b.ifThen(isControl(), [&] { leave(); }); });
}

//===----------------------------------------------------------------------===//
// Shares
//===----------------------------------------------------------------------===//

Share FewRowsBuilder::getShare(Value number) {
  auto cut = [&](Value units, int64_t sharers, Value &first, Value &mine) {
    int64_t slots = plan.warps / sharers;
    Value begin = b.div(b.mul(number, units), spec.shares);
    Value end = b.div(b.mul(b.add(number, 1), units), spec.shares);
    Value slot = b.div(warp, sharers);
    first = b.add(begin, slot);
    mine = b.ceilDiv(b.max(b.sub(end, first), 0), slots);
    mine = b.select(b.less(warp, plan.warps), mine, 0);
  };
  Share share;
  cut(b.mul(count, spec.inner / plan.lines), plan.upWarps, share.up,
      share.upUnits);
  cut(b.i32(spec.hidden / (2 * plan.lines)), plan.downWarps, share.down,
      share.downUnits);
  return share;
}

/// The first steps, up to a full ring less one.
void FewRowsBuilder::prologue(const Share &share, Cursor cursor, Cursor &after,
                              Value &slotAfter) {
  SmallVector<Value> last =
      b.loop(0, plan.stages - 1, {cursor.unit, cursor.step},
             [&](Value i, ValueRange carried) -> SmallVector<Value> {
               Cursor now{carried[0], carried[1]};
               issue(share, now, i);
               Cursor next = advance(share, now);
               return {next.unit, next.step};
             });
  after = {last[0], last[1]};
  slotAfter = b.i32(plan.stages - 1);
}

/// Gate/up of shares, until every one is done or held by a running CTA. Returns
/// the last share, the positions after it and how many were owned before.
SmallVector<Value> FewRowsBuilder::runShares(Value first) {
  Value zero = b.i32(0);
  return b.loopWhile(
      {first, zero, zero, zero, zero, zero},
      [&](ValueRange s) -> std::pair<Value, SmallVector<Value>> {
        Value number = s[0], owned = s[5];
        Share share = getShare(number);
        Cursor after;
        Value slot;
        prologue(share, {zero, zero}, after, slot);
        // x has come: it was the group before.
        NVVM::CpAsyncWaitGroupOp::create(b, plan.stages - 1);
        NVVM::BarrierOp::create(b);
        SmallVector<Value> next =
            consume(Up, share, {after.unit, after.step, slot, zero});
        sleepSometimes(number, 1);
        NVVM::BarrierOp::create(b); // all of h is written
        Value verdict = decide();
        Value taken = b.less(-1, verdict);
        b.ifThen(taken, [&] {
          b.ifThen(isControl(),
                   [&] { b.store(number, at(plan.owned, owned)); });
          NVVM::CpAsyncWaitGroupOp::create(b, 0);
        });
        return {taken,
                {b.select(taken, verdict, number), next[0], next[1], next[2],
                 next[3], b.add(owned, b.select(taken, 1, 0))}};
      },
      [&](ValueRange s) -> SmallVector<Value> {
        return llvm::to_vector_of<Value>(s);
      });
}

/// Publishes this CTA's part of h; waits until all of h is there (-1) or a
/// share is found that nobody has taken.
Value FewRowsBuilder::decide() {
  b.ifThen(isControl(), [&] {
    Type i64 = b.getI64Type();
    Value state = argument("state");
    b.assembly(Type(), {state, b.i64(1ull << 32)},
               "red.release.gpu.global.add.u64 [$0], $1;", "l,l,~{memory}");
    SmallVector<Value> verdict = b.loopWhile(
        {b.i32(spec.shares)},
        [&](ValueRange s) -> std::pair<Value, SmallVector<Value>> {
          // A ticket drawn below: a share, or none is left.
          Value drawn = b.less(s[0], spec.shares);
          auto poll = scf::IfOp::create(b, TypeRange{b.getI1Type(), i32}, drawn,
                                        /*withElseRegion=*/true);
          OpBuilder::InsertionGuard guard(b);
          b.setInsertionPointToStart(poll.thenBlock());
          scf::YieldOp::create(b, ValueRange{b.boolean(false), s[0]});
          b.setInsertionPointToStart(poll.elseBlock());
          Value now =
              b.assembly(i64, {state}, "ld.acquire.gpu.global.u64 $0, [$1];",
                         "=l,l,~{memory}");
          Value done = arith::TruncIOp::create(
              b, i32, arith::ShRUIOp::create(b, now, b.i64(32)));
          Value tickets = arith::TruncIOp::create(b, i32, now);
          Value open = b.less(done, spec.shares);
          Value code = b.select(open, tickets, -1);
          scf::YieldOp::create(b, ValueRange{open, code});
          b.setInsertionPointAfter(poll);
          return {poll.getResult(0), {poll.getResult(1)}};
        },
        [&](ValueRange s) -> SmallVector<Value> {
          auto draw =
              scf::IfOp::create(b, TypeRange{i32}, b.less(s[0], spec.shares),
                                /*withElseRegion=*/true);
          OpBuilder::InsertionGuard guard(b);
          b.setInsertionPointToStart(draw.thenBlock());
          Value old =
              b.assembly(i64, {state, b.i64(1)},
                         "atom.relaxed.gpu.global.add.u64 $0, [$1], $2;",
                         "=l,l,l,~{memory}");
          scf::YieldOp::create(
              b, ValueRange{arith::TruncIOp::create(b, i32, old)});
          b.setInsertionPointToStart(draw.elseBlock());
          scf::YieldOp::create(b, ValueRange{b.i32(spec.shares)});
          b.setInsertionPointAfter(draw);
          return {draw.getResult(0)};
        });
    b.store(verdict[0], at(plan.scalars, verdictAt));
    b.ifThen(b.less(verdict[0], 0), [&] { leave(); });
  });
  NVVM::BarrierOp::create(b);
  return b.uniform(word(plan.scalars, verdictAt));
}

/// The last CTA to come here, after which none looks at the state, clears it.
void FewRowsBuilder::leave() {
  Value state = argument("state"), left = b.atByte(state, 8);
  Value old = b.countUp(left, "acq_rel");
  b.ifThen(b.equal(old, b.sub(b.gridSize(), 1)), [&] {
    b.store(b.i64(0), state);
    b.store(b.i64(0), left);
  });
}

/// All rows of h to shared memory.
void FewRowsBuilder::copyHidden() {
  Value pairs = b.mul(tokens, spec.topK);
  if (spec.fp8)
    return copyQuantized("hidden_rows", pairs, pairs, spec.inner, plan.hPitch,
                         plan.hScales, 32 * (plan.warps + 1));
  constexpr int64_t unroll = 4;
  int64_t chunks = spec.inner / 8, threads = 32 * (plan.warps + 1);
  Value all = b.mul(pairs, chunks);
  b.loop(
      0, b.ceilDiv(all, unroll * threads), {},
      [&](Value i, ValueRange) -> SmallVector<Value> {
        SmallVector<Value> values, targets;
        for (int64_t j = 0; j < unroll; ++j) {
          Value index =
              b.add(b.mul(i, unroll * threads), b.add(thread, j * threads));
          index = b.min(index, b.sub(all, 1));
          Value row = b.div(index, chunks);
          Value byte = b.mul(b.rem(index, chunks), 16);
          values.push_back(b.load(
              words, rowAddress("hidden_rows", row, 2 * spec.inner, byte), 16));
          targets.push_back(b.atByte(shared, b.add(b.mul(row, plan.hPitch),
                                                   b.add(byte, plan.operand))));
        }
        for (auto [value, target] : llvm::zip(values, targets))
          b.store(value, target, 16);
        return {};
      });
}

LLVM::LLVMFuncOp moe::buildFewRows(gpu::GPUModuleOp module,
                                   const FewRowsSpec &spec) {
  return buildKernel(module, getFewRowsInterface(spec),
                     [&](DeviceBuilder &b, LLVM::LLVMFuncOp function) {
                       FewRowsBuilder(b, module, function, spec).build();
                     });
}
