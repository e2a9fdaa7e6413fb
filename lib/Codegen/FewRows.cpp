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

  Routing routing = askRouting();
  NVVM::BarrierOp::create(b); // only now may others fill the way to memory
  b.ifElse(
      b.equal(warp, plan.warps), [&] { readRouting(routing); },
      [&] {
        if (plan.xShared)
          copyTokens();
      });
  NVVM::CpAsyncCommitGroupOp::create(b);
  NVVM::BarrierOp::create(b);
  count = b.uniform(word(plan.scalars, listed));
  Value blocks = b.mul(count, plan.downBlocks);
  downSteps = b.max(b.ceilDiv(blocks, plan.downWarps), 1);
  Value first = b.uniform(word(plan.scalars, ticket));
  b.ifThen(b.less(first, spec.shares), [&] {
    SmallVector<Value> state = runShares(first);
    if (plan.hShared)
      copyHidden();
    NVVM::BarrierOp::create(b);
    Value owned = state.back();
    state.pop_back();
    // The last share first: its copies are under way.
    b.loop(
        0, b.add(owned, 1), state,
        [&](Value i, ValueRange carried) -> SmallVector<Value> {
          Value again = b.less(0, i);
          Value number = b.select(
              again, word(plan.owned, b.max(b.sub(i, 1), 0)), carried[0]);
          Share share = getShare(b.uniform(number));
          SmallVector<Value> positions = b.choose(
              again,
              [&] {
                // Buffers of sums are free, copies of before done.
                NVVM::BarrierOp::create(b);
                NVVM::CpAsyncWaitGroupOp::create(b, 0);
                return prologue(share, {share.upUnits, b.i32(-1), b.i32(0)});
              },
              [&] { return llvm::to_vector_of<Value>(carried.drop_front()); });
          SmallVector<Value> next{carried[0]};
          llvm::append_range(next, consumeDown(share, positions));
          return next;
        });
  });
  b.ifThen(isControl(), [&] { leave(); });
}

//===----------------------------------------------------------------------===//
// Shares
//===----------------------------------------------------------------------===//

Share FewRowsBuilder::getShare(Value number) {
  auto cut = [&](Value units, int64_t sharers, Value &first, Value &mine) {
    int64_t slots = plan.warps / sharers;
    Value begin = b.div(b.mul(number, units), spec.shares);
    Value end = b.div(b.mul(b.add(number, 1), units), spec.shares);
    first = b.add(begin, b.div(warp, sharers));
    mine = b.ceilDiv(b.max(b.sub(end, first), 0), slots);
    mine = b.select(b.less(warp, plan.warps), mine, 0);
  };
  Share share;
  int64_t slots = plan.warps / plan.upWarps;
  Value upUnits = b.mul(count, spec.inner / plan.lines);
  cut(upUnits, plan.upWarps, share.up, share.upUnits);
  share.upStride = b.i32(slots);
  if (plan.draws) {
    // Fewer are not worth the search.
    share.drawing = b.less(3 * spec.shares * slots - 1, upUnits);
    share.upEnd = b.select(b.less(warp, plan.warps), upUnits, 0);
    Value first = b.add(b.mul(number, slots), b.div(warp, plan.upWarps));
    share.up = b.select(share.drawing, first, share.up);
    share.upStride = b.select(share.drawing, spec.shares * slots, slots);
  }
  cut(b.i32(spec.hidden / (2 * plan.lines)), plan.downWarps, share.down,
      share.downUnits);
  return share;
}

/// The first steps, up to a full ring less one.
SmallVector<Value> FewRowsBuilder::prologue(const Share &share, Cursor cursor) {
  SmallVector<Value> last =
      b.loop(0, plan.stages - 1, {cursor.index, cursor.unit, cursor.step},
             [&](Value i, ValueRange carried) -> SmallVector<Value> {
               Cursor now{carried[0], carried[1], carried[2]};
               issue(share, now, i);
               Cursor next = advance(share, now);
               return {next.index, next.unit, next.step};
             });
  last.push_back(b.i32(plan.stages - 1));
  last.push_back(b.i32(0));
  return last;
}

/// Gate/up of shares, until every one is done or held by a running CTA. Returns
/// the last share, the positions after it and how many were owned before.
SmallVector<Value> FewRowsBuilder::runShares(Value first) {
  SmallVector<Value> begin(1 + positionCount + 1, b.i32(0));
  begin.front() = first;
  return b.loopWhile(
      begin,
      [&](ValueRange s) -> std::pair<Value, SmallVector<Value>> {
        Value number = s.front(), owned = s.back(), zero = b.i32(0);
        Share share = getShare(number);
        SmallVector<Value> positions =
            prologue(share, {zero, findUp(share, zero), zero});
        // While the first weights come; for a further share once more, since a
        // condition makes LLVM write the loops below twice.
        if (spec.maxTokens > 1)
          mapPairs();
        // x has come: it was the group before.
        NVVM::CpAsyncWaitGroupOp::create(b, plan.stages - 1);
        NVVM::BarrierOp::create(b);
        SmallVector<Value> next = consumeUp(share, positions);
        sleepSometimes(number, 1);
        NVVM::BarrierOp::create(b); // all of h is written
        Value verdict = decide();
        Value taken = b.less(-1, verdict);
        b.ifThen(taken, [&] {
          b.ifThen(isControl(),
                   [&] { b.store(number, at(plan.owned, owned)); });
          NVVM::CpAsyncWaitGroupOp::create(b, 0);
        });
        next.insert(next.begin(), b.select(taken, verdict, number));
        next.push_back(b.add(owned, b.select(taken, 1, 0)));
        return {taken, next};
      },
      [&](ValueRange s) -> SmallVector<Value> {
        return llvm::to_vector_of<Value>(s);
      });
}

/// The number of a share, in the lower half of an i64.
Value FewRowsBuilder::drawTicket() {
  return b.assembly(b.getI64Type(), {argument("state"), b.i64(1)},
                    "atom.relaxed.gpu.global.add.u64 $0, [$1], $2;",
                    "=l,l,l,~{memory}");
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
          Value old = arith::TruncIOp::create(b, i32, drawTicket());
          scf::YieldOp::create(b, ValueRange{old});
          b.setInsertionPointToStart(draw.elseBlock());
          scf::YieldOp::create(b, ValueRange{b.i32(spec.shares)});
          b.setInsertionPointAfter(draw);
          return {draw.getResult(0)};
        });
    b.store(verdict[0], at(plan.scalars, verdictAt));
  });
  NVVM::BarrierOp::create(b);
  return b.uniform(word(plan.scalars, verdictAt));
}

/// The last CTA to come here, after which none looks at the state, clears it.
/// No order is asked for: what a CTA saw of the state made it come, so it
/// cannot be what is stored here.
void FewRowsBuilder::leave() {
  Value state = argument("state"), left = b.atByte(state, leftAt);
  Value old = b.countUp(left, "relaxed");
  b.ifThen(b.equal(old, b.sub(b.gridSize(), 1)), [&] {
    b.store(b.i64(0), state);
    b.store(b.i64(0), left);
  });
}

/// All rows of h to shared memory.
void FewRowsBuilder::copyHidden() {
  Value pairs = b.mul(tokens, spec.topK);
  int64_t threads = 32 * (plan.warps + 1);
  if (spec.fp8)
    return copyQuantized("hidden_rows", pairs, pairs, spec.inner, plan.hPitch,
                         plan.hScales, threads);
  copyRows("hidden_rows", pairs, pairs, spec.inner, plan.hPitch, threads);
  NVVM::CpAsyncCommitGroupOp::create(b);
  // With them the weights that were asked for before the wait.
  NVVM::CpAsyncWaitGroupOp::create(b, 0);
}

LLVM::LLVMFuncOp moe::buildFewRows(gpu::GPUModuleOp module,
                                   const FewRowsSpec &spec) {
  return buildKernel(module, getFewRowsInterface(spec),
                     [&](DeviceBuilder &b, LLVM::LLVMFuncOp function) {
                       FewRowsBuilder(b, module, function, spec).build();
                     });
}
