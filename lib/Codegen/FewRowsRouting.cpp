// The start of a few-rows kernel: tokens to shared memory, the experts hit.
#include "Chunk.h"
#include "FewRowsBuilder.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace moe;
using namespace moe::fewrows;

/// CTAs that copy the same rows at the same time begin at different places of
/// them, `unit` elements at a time: else all ask the same part of L2.
Value FewRowsBuilder::spread(Value index, Value all, int64_t unit) {
  Value first = b.shr(b.mul(b.div(all, unit), b.bitAnd(b.blockId(), 127)), 7);
  index = b.add(index, b.mul(first, unit));
  return b.select(b.less(index, all), index, b.sub(index, all));
}

/// Rows of bf16 to shared memory, by asynchronous copies of the first so many
/// threads; rows from `live` on as zeros.
void FewRowsBuilder::copyRows(StringRef name, Value live, Value rows,
                              int64_t columns, int64_t pitch, int64_t threads) {
  int64_t chunks = columns / 8;
  Value all = b.mul(rows, chunks);
  b.loop(0, b.ceilDiv(all, threads), {},
         [&](Value i, ValueRange) -> SmallVector<Value> {
           Value index = b.add(b.mul(i, threads), thread);
           b.ifThen(b.less(index, all), [&] {
             Value place = spread(index, all, /*unit=*/1);
             Value row = b.div(place, chunks);
             Value byte = b.mul(b.rem(place, chunks), 16);
             Value lives = b.less(row, live);
             Value from =
                 rowAddress(name, b.select(lives, row, 0), 2 * columns, byte);
             Value to = b.atByte(
                 shared, b.add(b.mul(row, pitch), b.add(byte, plan.operand)));
             NVVM::CpAsyncOp::create(b, to, from, 16,
                                     NVVM::LoadCacheModifierKind::CG,
                                     b.select(lives, 16, 0));
           });
           return {};
         });
}

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
          Value place = spread(index, all, /*unit=*/16);
          item.row = b.div(place, perRow);
          item.chunk = b.rem(place, perRow);
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

/// By all warps that multiply.  Rows past the last token become zero.
void FewRowsBuilder::copyTokens() {
  Value rows = b.i32(spec.maxTokens);
  int64_t threads = 32 * plan.warps;
  if (spec.fp8)
    copyQuantized("x", tokens, rows, spec.hidden, plan.xPitch, plan.xScales,
                  threads);
  else
    copyRows("x", tokens, rows, spec.hidden, plan.xPitch, threads);
}

/// The slot of a pair's expert, -1 if it is not here.
Value FewRowsBuilder::findSlot(Value id, Value inRange) {
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

/// The control warp asks for all it needs before it waits for any of it: no
/// weight can be asked for until then.  Others get zeros.
FewRowsBuilder::Routing FewRowsBuilder::askRouting() {
  Value isMine = b.equal(warp, plan.warps), pairs = b.mul(tokens, spec.topK);
  Routing routing;
  for (int64_t first = 0; first < plan.maxPairs; first += 32) {
    Value number = b.add(lane, first);
    routing.pairs.push_back({number, b.less(number, pairs), {}, {}});
  }
  SmallVector<Value> asked = b.choose(
      isMine,
      [&] {
        auto draw = [&] { return SmallVector<Value>{drawTicket()}; };
        auto none = [&] { return SmallVector<Value>{b.i64(0)}; };
        SmallVector<Value> values = b.choose(b.equal(lane, 0), draw, none);
        for (const Pairs &pair : routing.pairs) {
          Value safe = b.select(pair.inRange, pair.number, 0);
          values.push_back(
              b.load(i32, b.atElement(argument("ids"), i32, safe)));
          values.push_back(
              floatAt(b.atElement(argument("weights"), f32, safe)));
        }
        return values;
      },
      [&] {
        SmallVector<Value> values{b.i64(0)};
        for (size_t i = 0; i < routing.pairs.size(); ++i)
          llvm::append_values(values, b.i32(0), b.f32(0.0f));
        return values;
      });
  routing.drawn = asked.front();
  for (auto [i, pair] : llvm::enumerate(routing.pairs)) {
    pair.id = asked[1 + 2 * i];
    pair.weight = asked[2 + 2 * i];
  }
  return routing;
}

/// The control warp: ticket, slots and weights of all pairs, list of the
/// experts hit.
void FewRowsBuilder::readRouting(const Routing &asked) {
  SmallVector<Value> slots;
  for (const Pairs &pair : asked.pairs)
    slots.push_back(findSlot(pair.id, pair.inRange));
  for (auto [pair, slot] : llvm::zip_equal(asked.pairs, slots))
    b.ifThen(b.less(pair.number, plan.maxPairs), [&] {
      b.store(slot, at(plan.slotOf, pair.number));
      b.store(pair.weight, at(plan.weights, pair.number));
    });
  if (spec.maxTokens > 1)
    listMany(slots);
  else
    listFew(slots.front());
  b.ifThen(b.equal(lane, 0), [&] {
    b.store(arith::TruncIOp::create(b, i32, asked.drawn),
            at(plan.scalars, ticket));
  });
}

/// One token: its experts differ, so they are the list, in ascending order.
/// Lanes hold the pairs.
void FewRowsBuilder::listFew(Value slot) {
  Value here = b.less(-1, slot), rank = b.i32(0);
  for (int64_t j = 0; j < spec.topK; ++j) {
    Value other = b.fromLane(slot, j);
    Value before = b.both(b.less(-1, other), b.less(other, slot));
    rank = b.add(rank, b.select(before, 1, 0));
  }
  b.ifThen(here, [&] {
    b.store(slot, at(plan.list, rank));
    b.store(lane, at(plan.pairOf, rank));
  });
  Value mask = NVVM::VoteSyncOp::create(b, i32, b.i32(-1), here,
                                        NVVM::VoteSyncKind::ballot);
  b.store(LLVM::CtPopOp::create(b, i32, mask), at(plan.scalars, listed));
}

/// More tokens: a bit for each expert, of which each lane lists its share.
void FewRowsBuilder::listMany(ArrayRef<Value> slots) {
  int64_t maskWords = llvm::divideCeil(spec.experts, 32);
  int64_t width = llvm::PowerOf2Ceil(maskWords);
  Value all = b.i32(0); // lane i: bits of experts 32 i to 32 i + 31
  for (int64_t i = 0; i < maskWords; ++i) {
    Value mine = b.i32(0);
    for (Value slot : slots) {
      Value bit = b.shl(1, b.bitAnd(slot, 31));
      Value hit = b.equal(b.shr(slot, 5), i);
      mine = b.bitOr(mine, b.select(hit, bit, 0));
    }
    Value bits =
        NVVM::ReduxOp::create(b, i32, mine, NVVM::ReduxKind::OR, b.i32(-1));
    all = b.select(b.equal(lane, i), bits, all);
  }
  Value first = b.mul(lane, width);
  Value bits = b.fromLane(all, b.shr(first, 5));
  bits = b.shr(bits, b.bitAnd(first, 31));
  if (width < 32)
    bits = b.bitAnd(bits, (1 << width) - 1);
  Value here = LLVM::CtPopOp::create(b, i32, bits), sum = here;
  b.addFromBelow(sum);
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
        b.store(b.add(first, place), at(plan.list, s[1]));
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
