// The copies of weights and their products in a few-rows kernel.
#include "FewRowsBuilder.h"

using namespace mlir;
using namespace moe;
using namespace moe::fewrows;

//===----------------------------------------------------------------------===//
// Copies of weights
//===----------------------------------------------------------------------===//

Cursor FewRowsBuilder::advance(const Share &share, Cursor cursor) {
  Value up = b.less(cursor.unit, share.upUnits);
  Value next = b.add(cursor.step, 1);
  Value wrap = b.equal(next, b.select(up, plan.upSteps, downSteps));
  return {b.add(cursor.unit, b.select(wrap, 1, 0)), b.select(wrap, 0, next)};
}

/// One group of copies, an empty one past the end.
void FewRowsBuilder::issue(const Share &share, Cursor cursor, Value ringSlot) {
  b.ifElse(
      b.less(cursor.unit, share.upUnits),
      [&] {
        Value unit =
            b.add(share.up, b.mul(cursor.unit, spec.warps / plan.upWarps));
        copyUp(unit, cursor.step, ringSlot);
      },
      [&] {
        Value number = b.sub(cursor.unit, share.upUnits);
        b.ifThen(b.less(number, share.downUnits), [&] {
          Value unit =
              b.add(share.down, b.mul(number, spec.warps / plan.downWarps));
          copyDown(unit, cursor.step, ringSlot);
        });
      });
  NVVM::CpAsyncCommitGroupOp::create(b);
}

/// 16 bytes a lane from `row` and from `rowDistance` rows below.
void FewRowsBuilder::copyRows(StringRef name, Value slot, int64_t expertBytes,
                              Value row, int64_t rowDistance, int64_t columns,
                              Value column, Value valid, Value ringSlot) {
  Value inside = b.both(valid, b.less(column, columns));
  column = b.select(inside, column, 0);
  Value byte = b.add(b.mul(row, 2 * columns), b.mul(column, 2));
  Value from = rowAddress(name, slot, expertBytes, byte);
  Value to = ringAddress(ringSlot);
  Value size = b.select(inside, 16, 0);
  for (int64_t half = 0; half < 2; ++half)
    NVVM::CpAsyncOp::create(b, b.atByte(to, 512 * half),
                            b.atByte(from, half * rowDistance * 2 * columns),
                            16, NVVM::LoadCacheModifierKind::CG, size);
}

void FewRowsBuilder::copyUp(Value unit, Value step, Value ringSlot) {
  int64_t units = spec.inner / plan.lines;
  Value slot = word(plan.list, b.div(unit, units));
  Value pair = b.mul(b.rem(unit, units), plan.lines);
  Value row = b.add(b.mul(b.shr(pair, 3), 16), b.bitAnd(pair, 7));
  Value sharer = b.rem(warp, plan.upWarps);
  Value column = b.add(
      b.mul(b.add(b.mul(step, plan.upWarps), sharer), plan.block), firstColumn);
  copyRows("gate_up", slot, 4 * spec.inner * spec.hidden, b.add(row, line), 8,
           spec.hidden, column, b.boolean(true), ringSlot);
}

void FewRowsBuilder::copyDown(Value unit, Value step, Value ringSlot) {
  Value flat = b.add(b.mul(step, plan.downWarps), b.rem(warp, plan.downWarps));
  Value expert = b.div(flat, plan.downBlocks);
  Value column =
      b.add(b.mul(b.rem(flat, plan.downBlocks), plan.block), firstColumn);
  Value valid = b.less(expert, count);
  Value slot = b.select(valid, word(plan.list, b.select(valid, expert, 0)), 0);
  Value row = b.add(b.mul(unit, 2 * plan.lines), line);
  copyRows("down", slot, 2 * spec.inner * spec.hidden, row, plan.lines,
           spec.inner, column, valid, ringSlot);
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

/// The other operand of one step, 16 bytes a lane and tile.
SmallVector<Value> FewRowsBuilder::loadOperand(Phase phase, Value unit,
                                               Value step) {
  SmallVector<Value> operand;
  if (phase == Up) {
    Value sharer = b.rem(warp, plan.upWarps);
    Value column =
        b.add(b.mul(b.add(b.mul(step, plan.upWarps), sharer), plan.block),
              firstColumn);
    for (int64_t tile = 0; tile < plan.tiles; ++tile)
      operand.push_back(loadX(unit, column, tile));
    return operand;
  }
  for (int64_t tile = 0; tile < plan.tiles; ++tile)
    operand.push_back(loadH(step, tile));
  return operand;
}

/// Past the end of a row the weights are zero: any finite number will do.
Value FewRowsBuilder::loadX(Value unit, Value column, int64_t tile) {
  Value token = b.add(line, 8 * tile);
  column = b.min(column, spec.hidden - 8);
  if (plan.xShared)
    return b.load(
        words,
        b.atByte(shared, b.add(b.mul(token, plan.xPitch),
                               b.add(b.mul(column, 2), plan.operand))),
        16);
  // Sums of tokens that do not go to the expert are never looked at: theirs
  // need not be read.
  Value expert = b.div(unit, spec.inner / plan.lines);
  Value pair = word(plan.pairOf, b.add(b.mul(expert, spec.maxTokens), token));
  Value from = rowAddress("x", b.select(b.less(-1, pair), token, 0),
                          2 * spec.hidden, b.mul(column, 2));
  return b.load(words, from, 16);
}

/// Zero for tokens that do not go to the expert.
Value FewRowsBuilder::loadH(Value step, int64_t tile) {
  Value flat = b.add(b.mul(step, plan.downWarps), b.rem(warp, plan.downWarps));
  Value expert = b.div(flat, plan.downBlocks);
  Value column =
      b.add(b.mul(b.rem(flat, plan.downBlocks), plan.block), firstColumn);
  column = b.min(column, spec.inner - 8);
  Value valid = b.less(expert, count);
  Value token = b.add(line, 8 * tile);
  Value pair =
      word(plan.pairOf,
           b.add(b.mul(b.select(valid, expert, 0), spec.maxTokens), token));
  Value used = b.both(valid, b.less(-1, pair));
  pair = b.select(used, pair, 0);
  Value byte = b.mul(column, 2);
  Value from = plan.hShared
                   ? b.atByte(shared, b.add(b.mul(pair, plan.hPitch),
                                            b.add(byte, plan.operand)))
                   : rowAddress("hidden_rows", pair, 2 * spec.inner, byte);
  Value h = b.load(words, from, 16);
  return arith::SelectOp::create(b, used, h, LLVM::ZeroOp::create(b, words));
}

/// Two products m16n8k16 per tile: a lane's four consecutive pairs of elements
/// take the places of pairs 0 and 4 of k in the first, then in the second.
SmallVector<Value> FewRowsBuilder::multiply(SmallVector<Value> sums,
                                            Value ringSlot,
                                            ArrayRef<Value> operand) {
  Value from = ringAddress(ringSlot);
  Value upper = b.load(words, from, 16);
  Value lower = b.load(words, b.atByte(from, 512), 16);
  auto part = [&](Value vector, int64_t i) -> Value {
    return LLVM::ExtractElementOp::create(b, vector, b.i32(i));
  };
  Type result = LLVM::LLVMStructType::getLiteral(b.getContext(),
                                                 SmallVector<Type>(4, f32));
  auto types = std::array{NVVM::MMATypes::bf16, NVVM::MMATypes::bf16};
  auto layouts = std::array{NVVM::MMALayout::row, NVVM::MMALayout::col};
  for (auto [tile, x] : llvm::enumerate(operand))
    for (int64_t i = 0; i < 4; i += 2) {
      SmallVector<Value> rows{part(upper, i), part(lower, i),
                              part(upper, i + 1), part(lower, i + 1)};
      SmallVector<Value> columns{part(x, i), part(x, i + 1)};
      auto mine = MutableArrayRef<Value>(sums).slice(4 * tile, 4);
      Value product =
          NVVM::MmaOp::create(b, result, rows, columns, ValueRange(mine),
                              ArrayRef<int64_t>{16, 8, 16}, std::nullopt,
                              std::nullopt, types, layouts);
      for (auto [j, sum] : llvm::enumerate(mine))
        sum = LLVM::ExtractValueOp::create(b, product, j);
    }
  return sums;
}

SmallVector<Value> FewRowsBuilder::consume(Phase phase, const Share &share,
                                           ValueRange positions) {
  Value units = phase == Up ? share.upUnits : share.downUnits;
  Value first = phase == Up ? share.up : share.down;
  int64_t stride = spec.warps / (phase == Up ? plan.upWarps : plan.downWarps);
  bool ahead = phase == Up ? !plan.xShared : !plan.hShared;
  Value steps = stepsOf(phase);
  return b.loop(
      0, units, positions,
      [&](Value i, ValueRange outer) -> SmallVector<Value> {
        Value unit = b.add(first, b.mul(i, stride));
        SmallVector<Value> carried(4 * plan.tiles, b.f32(0.0f));
        llvm::append_range(carried, outer);
        // What is not in shared memory is asked for one step ahead.
        if (ahead)
          llvm::append_range(carried, loadOperand(phase, unit, b.i32(0)));
        SmallVector<Value> last = b.loop(
            0, steps, carried,
            [&](Value step, ValueRange s) -> SmallVector<Value> {
              ValueRange at = s.slice(4 * plan.tiles, 4);
              Cursor cursor{at[0], at[1]};
              SmallVector<Value> operand, next;
              if (ahead) {
                operand = llvm::to_vector_of<Value>(s.take_back(plan.tiles));
                next = loadOperand(phase, unit,
                                   b.min(b.add(step, 1), b.sub(steps, 1)));
              }
              sleepSometimes(b.add(step, b.mul(unit, 31)), 0);
              NVVM::CpAsyncWaitGroupOp::create(b, plan.stages - 2);
              if (!ahead)
                operand = loadOperand(phase, unit, step);
              SmallVector<Value> result = multiply(
                  llvm::to_vector_of<Value>(s.take_front(4 * plan.tiles)),
                  at[3], operand);
              issue(share, cursor, at[2]);
              Cursor after = advance(share, cursor);
              llvm::append_range(result,
                                 ValueRange{after.unit, after.step,
                                            nextSlot(at[2]), nextSlot(at[3])});
              llvm::append_range(result, next);
              return result;
            });
        SmallVector<Value> sums(
            ArrayRef<Value>(last).take_front(4 * plan.tiles));
        finishUnit(phase, unit, b.bitAnd(i, 1), sums);
        return SmallVector<Value>(
            ArrayRef<Value>(last).slice(4 * plan.tiles, 4));
      });
}
