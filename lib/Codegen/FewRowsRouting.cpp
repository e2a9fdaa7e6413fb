// The start of a few-rows kernel: tokens to shared memory, the experts hit.
#include "Chunk.h"
#include "FewRowsBuilder.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace moe;
using namespace moe::fewrows;

/// Rows of bf16 to shared memory in e4m3 and their scales, by the first so many
/// threads; rows from `live` on as zeros.
void FewRowsBuilder::copyQuantized(StringRef name, Value live, Value rows,
                                   int64_t columns, int64_t pitch,
                                   int64_t scales, int64_t threads) {
  constexpr int64_t unroll = 4;
  int64_t blocks = llvm::divideCeil(columns, 128), perRow = 16 * blocks;
  Value all = b.mul(rows, perRow);
  struct Item {
    Value row, chunk, exists, words;
  };
  b.loop(
      0, b.ceilDiv(all, unroll * threads), {},
      [&](Value i, ValueRange) -> SmallVector<Value> {
        SmallVector<Item> items(unroll);
        for (auto [j, item] : llvm::enumerate(items)) {
          Value index =
              b.add(b.mul(i, unroll * threads), b.add(thread, j * threads));
          item.row = b.div(index, perRow);
          item.chunk = b.rem(index, perRow);
          item.exists =
              b.both(b.less(index, all), b.less(item.chunk, columns / 8));
          Value reads = b.both(item.exists, b.less(item.row, live));
          Value from =
              rowAddress(name, b.select(reads, item.row, 0), 2 * columns,
                         b.select(reads, b.mul(item.chunk, 16), 0));
          item.words = arith::SelectOp::create(b, reads, chunk::load(b, from),
                                               LLVM::ZeroOp::create(b, words));
        }
        for (const Item &item : items) {
          chunk::Quantized made = chunk::quantize(b, item.words);
          b.ifThen(item.exists, [&] {
            Value byte = b.add(b.mul(item.row, pitch), b.mul(item.chunk, 8));
            b.store(made.codes, b.atByte(shared, b.add(byte, plan.operand)), 8);
            b.ifThen(b.equal(b.rem(item.chunk, 16), 0), [&] {
              Value block =
                  b.add(b.mul(item.row, blocks), b.div(item.chunk, 16));
              b.store(made.scale, at(scales, block));
            });
          });
        }
        return {};
      });
}

/// Rows past the last token become zero.
void FewRowsBuilder::copyTokens() {
  if (spec.fp8) {
    b.ifThen(b.less(warp, plan.warps), [&] {
      copyQuantized("x", tokens, b.i32(spec.maxTokens), spec.hidden,
                    plan.xPitch, plan.xScales, 32 * plan.warps);
    });
    return;
  }
  int64_t chunks = spec.hidden / 8, all = chunks * spec.maxTokens;
  int64_t threads = 32 * plan.warps;
  b.loop(0, llvm::divideCeil(all, threads), {},
         [&](Value i, ValueRange) -> SmallVector<Value> {
           Value index = b.add(b.mul(i, threads), thread);
           Value copies = b.less(warp, plan.warps);
           b.ifThen(b.both(copies, b.less(index, all)), [&] {
             Value token = b.div(index, chunks);
             Value byte = b.mul(b.rem(index, chunks), 16);
             Value live = b.less(token, tokens);
             Value from = rowAddress("x", b.min(token, b.sub(tokens, 1)),
                                     2 * spec.hidden, byte);
             Value to = b.atByte(shared, b.add(b.mul(token, plan.xPitch),
                                               b.add(byte, plan.operand)));
             NVVM::CpAsyncOp::create(b, to, from, 16,
                                     NVVM::LoadCacheModifierKind::CG,
                                     b.select(live, 16, 0));
           });
           return {};
         });
}

/// The slot of a pair's expert, -1 if it is not here.
Value FewRowsBuilder::readSlot(Value pair, Value inRange) {
  Value safe = b.select(inRange, pair, 0);
  Value id = b.load(i32, b.atElement(argument("ids"), i32, safe));
  auto below = [&](Value value, int64_t bound) {
    return arith::CmpIOp::create(b, arith::CmpIPredicate::ult, value,
                                 b.i32(bound));
  };
  Value known = inRange;
  if (spec.tableSize) {
    known = b.both(known, below(id, spec.tableSize));
    id = b.load(i32,
                b.atElement(argument("slots"), i32, b.select(known, id, 0)));
  }
  return b.select(b.both(known, below(id, spec.experts)), id, -1);
}

/// The control warp: ticket, slots and weights of all pairs, list of the
/// experts hit.
void FewRowsBuilder::readRouting() {
  b.ifThen(b.equal(lane, 0), [&] {
    Value old = b.assembly(b.getI64Type(), {argument("state"), b.i64(1)},
                           "atom.relaxed.gpu.global.add.u64 $0, [$1], $2;",
                           "=l,l,l,~{memory}");
    b.store(arith::TruncIOp::create(b, i32, old), at(plan.scalars, ticket));
  });
  if (spec.maxTokens > 1)
    b.store(b.i32(0), at(plan.bits, lane));
  NVVM::SyncWarpOp::create(b, b.i32(-1));
  Value pairs = b.mul(tokens, spec.topK);
  for (int64_t first = 0; first < plan.maxPairs; first += 32) {
    Value pair = b.add(lane, first);
    Value inRange = b.less(pair, pairs);
    Value slot = readSlot(pair, inRange);
    b.ifThen(b.less(pair, plan.maxPairs), [&] {
      b.store(slot, at(plan.slotOf, pair));
      Value safe = b.select(inRange, pair, 0);
      b.store(floatAt(b.atElement(argument("weights"), f32, safe)),
              at(plan.weights, pair));
    });
    listExperts(slot, inRange, pair);
  }
  if (spec.maxTokens > 1)
    listManyExperts();
}

/// One token: its experts differ, so they are the list, in ascending order.
/// More: a bit per slot.
void FewRowsBuilder::listExperts(Value slot, Value inRange, Value pair) {
  Value here = b.less(-1, slot);
  if (spec.maxTokens > 1) {
    b.ifThen(here, [&] {
      Value bit = b.shl(1, b.bitAnd(slot, 31));
      LLVM::AtomicRMWOp::create(b, LLVM::AtomicBinOp::_or,
                                at(plan.bits, b.shr(slot, 5)), bit,
                                LLVM::AtomicOrdering::monotonic);
    });
    return;
  }
  Value rank = b.i32(0);
  for (int64_t j = 0; j < spec.topK; ++j) {
    Value other = b.fromLane(slot, j);
    Value before = b.both(b.less(-1, other), b.less(other, slot));
    rank = b.add(rank, b.select(before, 1, 0));
  }
  b.ifThen(here, [&] {
    b.store(slot, at(plan.list, rank));
    b.store(pair, at(plan.pairOf, rank));
  });
  Value mask = NVVM::VoteSyncOp::create(b, i32, b.i32(-1), here,
                                        NVVM::VoteSyncKind::ballot);
  b.store(LLVM::CtPopOp::create(b, i32, mask), at(plan.scalars, listed));
}

void FewRowsBuilder::listManyExperts() {
  NVVM::SyncWarpOp::create(b, b.i32(-1));
  Value bits = word(plan.bits, lane);
  Value here = LLVM::CtPopOp::create(b, i32, bits), sum = here;
  for (int64_t distance = 1; distance < 32; distance *= 2) {
    Value below = b.fromBelow(sum, distance);
    sum = b.add(sum, b.select(b.less(lane, distance), 0, below));
  }
  b.ifThen(b.equal(lane, 31), [&] { b.store(sum, at(plan.scalars, listed)); });
  b.loopWhile(
      {bits, b.sub(sum, here)},
      [&](ValueRange s) -> std::pair<Value, SmallVector<Value>> {
        Value more =
            arith::CmpIOp::create(b, arith::CmpIPredicate::ne, s[0], b.i32(0));
        return {more, {s[0], s[1]}};
      },
      [&](ValueRange s) -> SmallVector<Value> {
        Value lowest = b.bitAnd(s[0], b.sub(0, s[0]));
        Value place = LLVM::CtPopOp::create(b, i32, b.sub(lowest, 1));
        b.store(b.add(b.mul(lane, 32), place), at(plan.list, s[1]));
        return {b.bitXor(s[0], lowest), b.add(s[1], 1)};
      });
}

/// pairOf[expert][token]: the pair, -1 if the token does not go there.
void FewRowsBuilder::mapPairs() {
  int64_t all = plan.maxExperts * spec.maxTokens;
  int64_t threads = 32 * (plan.warps + 1);
  b.loop(0, llvm::divideCeil(all, threads), {},
         [&](Value i, ValueRange) -> SmallVector<Value> {
           Value index = b.add(b.mul(i, threads), thread);
           Value expert = b.div(index, spec.maxTokens);
           b.ifThen(b.less(expert, count), [&] {
             Value slot = word(plan.list, expert), found = b.i32(-1);
             Value first = b.mul(b.rem(index, spec.maxTokens), spec.topK);
             for (int64_t j = 0; j < spec.topK; ++j) {
               Value pair = b.add(first, j);
               found = b.select(b.equal(word(plan.slotOf, pair), slot), pair,
                                found);
             }
             b.store(found, at(plan.pairOf, index));
           });
           return {};
         });
}
