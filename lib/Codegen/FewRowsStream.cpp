// The copies of weights and their products in a few-rows kernel.
#include "FewRowsBuilder.h"

using namespace mlir;
using namespace moe;
using namespace moe::fewrows;

//===----------------------------------------------------------------------===//
// Copies of weights
//===----------------------------------------------------------------------===//

/// The slot's unit of gate/up at a place of its sequence, -1 after the last.
Value FewRowsBuilder::findUp(const Share &share, Value index) {
  auto fixed = [&] {
    Value unit = b.add(share.up, b.mul(index, share.upStride));
    Value valid = b.less(index, share.upUnits);
    if (plan.draws)
      valid = b.select(share.drawing, b.less(unit, share.upEnd), valid);
    return SmallVector<Value>{b.select(valid, unit, -1)};
  };
  if (!plan.draws)
    return fixed().front();
  auto drawn = [&] {
    return SmallVector<Value>{b.uniform(b.load(i32, drawnAt(index)))};
  };
  return b.choose(b.both(share.drawing, b.less(1, index)), drawn, fixed)
      .front();
}

/// Four places of the sequence of a slot.
Value FewRowsBuilder::drawnAt(Value index) {
  return at(plan.drawn,
            b.add(b.mul(b.div(warp, plan.upWarps), 4), b.bitAnd(index, 3)));
}

/// One thread of the warps that share a unit.
Value FewRowsBuilder::leadsUp() {
  return b.both(b.equal(b.rem(warp, plan.upWarps), 0), b.equal(lane, 0));
}

/// Of the leader: a number that comes by the end of the present unit.
Value FewRowsBuilder::drawUp(const Share &share) {
  return b
      .choose(
          b.both(share.drawing, leadsUp()),
          [&] {
            Value next = b.atByte(argument("state"), drawnUnitsAt);
            return SmallVector<Value>{b.countUp(next, "relaxed")};
          },
          [&] { return SmallVector<Value>{b.i32(0)}; })
      .front();
}

/// The unit at a place of the sequence, for the others; they see it after the
/// exchange of sums at the end of the present one, which is two places before.
void FewRowsBuilder::postUp(Value drawn, Value index, const Share &share) {
  b.ifThen(leadsUp(), [&] {
    Value unit = b.add(drawn, b.mul(share.upStride, 2));
    b.store(b.select(b.less(unit, share.upEnd), unit, -1), drawnAt(index));
  });
  if (plan.upWarps == 1) // which exchanges no sums
    NVVM::SyncWarpOp::create(b, b.i32(-1));
}

FewRowsBuilder::CursorPlace FewRowsBuilder::findPlace(const Share &share,
                                                      Cursor cursor) {
  if (plan.draws)
    return {b.less(-1, cursor.unit), cursor.unit, b.sub(-1, cursor.unit)};
  return {b.less(cursor.index, share.upUnits),
          b.add(share.up, b.mul(cursor.index, share.upStride)),
          b.sub(cursor.index, share.upUnits)};
}

Cursor FewRowsBuilder::advance(const Share &share, Cursor cursor) {
  Value isUp = findPlace(share, cursor).isUp, next = b.add(cursor.step, 1);
  Value wrap = b.equal(next, b.select(isUp, plan.upSteps, downSteps));
  Value more = b.select(wrap, 1, 0), index = b.add(cursor.index, more);
  Value unit = cursor.unit;
  if (plan.draws) {
    auto found = [&] { return SmallVector<Value>{findUp(share, index)}; };
    auto other = [&] { return SmallVector<Value>{b.sub(unit, more)}; };
    unit = b.choose(b.both(wrap, isUp), found, other).front();
  }
  return {index, unit, b.select(wrap, 0, next)};
}

/// One group of copies, an empty one past the end.
void FewRowsBuilder::issue(const Share &share, Cursor cursor, Value ringSlot) {
  CursorPlace place = findPlace(share, cursor);
  b.ifElse(
      place.isUp, [&] { copyUp(place.up, cursor.step, ringSlot); },
      [&] {
        b.ifThen(b.less(place.down, share.downUnits), [&] {
          Value unit =
              b.add(share.down, b.mul(place.down, plan.warps / plan.downWarps));
          copyDown(unit, cursor.step, ringSlot);
        });
      });
  NVVM::CpAsyncCommitGroupOp::create(b);
}

/// One block: 16 bytes a lane of each half, where it will read them itself. Two
/// blocks: four times four rows of 128 bytes; odd rows have their halves
/// exchanged, so that rows read together stand in different banks.
void FewRowsBuilder::copyWeights(Phase phase, Value slot, Value row,
                                 Value column, Value valid, Value ringSlot) {
  int64_t columns = phase == Up ? spec.hidden : spec.inner;
  bool blocked = phase == Up ? spec.blockedGateUp : spec.blockedDown;
  int64_t matrixBytes = plan.elementBytes * spec.inner * spec.hidden;
  int64_t expertBytes = (phase == Up ? 2 : 1) * matrixBytes;
  row = b.add(row, copiedLine);
  column = b.add(column, copiedColumn);
  Value inside = b.both(valid, b.less(column, columns));
  column = b.select(inside, column, 0);
  int64_t pitch = plan.elementBytes * columns, eight = 8 * pitch;
  Value inRow = b.mul(column, plan.elementBytes);
  Value byte = b.add(b.mul(row, pitch), inRow);
  if (blocked) {
    byte = b.add(b.mul(b.shr(row, 3), eight), b.mul(b.shr(inRow, 7), 1024));
    byte = b.add(byte, b.mul(b.bitAnd(row, 7), 128));
    byte = b.add(byte, b.bitAnd(inRow, 127));
  }
  Value from =
      rowAddress(phase == Up ? "gate_up" : "down", slot, expertBytes, byte);
  Value place = lane;
  if (plan.blocks == 2)
    place = b.bitXor(lane, b.mul(b.bitAnd(copiedLine, 1), 4));
  Value to = b.atByte(ringAddress(ringSlot), b.mul(place, 16));
  Value size = b.select(inside, 16, 0);
  int64_t parts = 2 * plan.blocks;
  // The other half: the same rows of up, or the next ones of down.
  int64_t half = phase == Up ? 8 : plan.lines;
  int64_t distance = plan.blocks == 1 ? half : 4;
  // Rows of a unit begin at a multiple of their number: less than eight apart
  // they stand in one block.
  auto apart = [&](int64_t rows) {
    return blocked ? rows / 8 * eight + rows % 8 * 128 : rows * pitch;
  };
  for (int64_t part = 0; part < parts; ++part)
    NVVM::CpAsyncOp::create(b, b.atByte(to, 512 * part),
                            b.atByte(from, apart(part * distance)), 16,
                            NVVM::LoadCacheModifierKind::CG, size);
}

/// One word, which this lane will read itself.
void FewRowsBuilder::copyScale(StringRef name, Value index, Value to) {
  NVVM::CpAsyncOp::create(b, to, b.atElement(argument(name), f32, index), 4,
                          NVVM::LoadCacheModifierKind::CA, Value());
}

FewRowsBuilder::StepPlace FewRowsBuilder::locate(Phase phase, Value step) {
  int64_t sharers = phase == Up ? plan.upWarps : plan.downWarps;
  Value flat = b.add(b.mul(step, sharers), b.rem(warp, sharers));
  if (phase == Up)
    return {Value(), flat};
  return {b.div(flat, plan.downBlocks), b.rem(flat, plan.downBlocks)};
}

void FewRowsBuilder::copyUp(Value unit, Value step, Value ringSlot) {
  int64_t units = spec.inner / plan.lines;
  Value slot = word(plan.list, b.div(unit, units));
  Value pair = b.mul(b.rem(unit, units), plan.lines);
  Value row = b.add(b.mul(b.shr(pair, 3), 16), b.bitAnd(pair, 7));
  Value flat = locate(Up, step).flat;
  copyWeights(Up, slot, row, b.mul(flat, plan.block), b.boolean(true),
              ringSlot);
  if (!spec.fp8)
    return;
  int64_t matrix = plan.hScaleBlocks * plan.xScaleBlocks;
  Value index = b.add(b.mul(slot, 2 * matrix),
                      b.mul(b.div(pair, 128), plan.xScaleBlocks));
  index = b.add(index, scaleBlock(flat, plan.xScaleBlocks));
  Value to = scalesAt(ringSlot);
  copyScale("gate_up_scale", index, to);
  copyScale("gate_up_scale", b.add(index, matrix), b.atByte(to, 4));
}

void FewRowsBuilder::copyDown(Value unit, Value step, Value ringSlot) {
  auto [expert, inExpert] = locate(Down, step);
  Value column = b.mul(inExpert, plan.block);
  Value valid = b.less(expert, count);
  Value slot = b.select(valid, word(plan.list, b.select(valid, expert, 0)), 0);
  Value row = b.mul(unit, 2 * plan.lines);
  copyWeights(Down, slot, row, column, valid, ringSlot);
  if (!spec.fp8)
    return;
  Value index = b.add(b.mul(slot, plan.xScaleBlocks), b.div(row, 128));
  index = b.add(b.mul(index, plan.hScaleBlocks),
                scaleBlock(inExpert, plan.hScaleBlocks));
  copyScale("down_scale", index, scalesAt(ringSlot));
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

/// The other operand of one step, 16 bytes a lane for each block and tile.
SmallVector<Value> FewRowsBuilder::loadOperand(Phase phase, Value unit,
                                               Value step) {
  SmallVector<Value> operand;
  auto [expert, flat] = locate(phase, step);
  Value first = b.add(b.mul(flat, plan.block), firstColumn);
  for (int64_t block = 0; block < plan.blocks; ++block)
    for (int64_t tile = 0; tile < plan.tiles; ++tile) {
      Value column = b.add(first, plan.lineElements * block);
      operand.push_back(phase == Up ? loadX(unit, column, tile)
                                    : loadH(expert, column, tile));
    }
  return operand;
}

/// Past the end of a row the weights are zero: any finite number will do.
Value FewRowsBuilder::loadX(Value unit, Value column, int64_t tile) {
  Value token = b.add(line, 8 * tile);
  column = b.min(column, spec.hidden - 16 / plan.elementBytes);
  if (plan.xShared)
    return b.load(words,
                  b.atByte(shared, b.add(b.mul(token, plan.xPitch),
                                         b.add(b.mul(column, plan.elementBytes),
                                               plan.operand))),
                  16);
  // Sums of tokens that do not go to the expert are never looked at: theirs
  // need not be read.
  Value expert = b.div(unit, spec.inner / plan.lines);
  Value pair = word(plan.pairOf, b.add(b.mul(expert, spec.maxTokens), token));
  Value from = rowAddress("x", b.select(b.less(-1, pair), token, 0),
                          2 * spec.hidden, b.mul(column, 2));
  return b.load(words, from, 16);
}

FewRowsBuilder::HiddenRow FewRowsBuilder::findHidden(Value expert,
                                                     Value token) {
  Value valid = b.less(expert, count);
  Value pair =
      word(plan.pairOf,
           b.add(b.mul(b.select(valid, expert, 0), spec.maxTokens), token));
  Value used = b.both(valid, b.less(-1, pair));
  return {b.select(used, pair, 0), used};
}

/// Zero for tokens that do not go to the expert.
Value FewRowsBuilder::loadH(Value expert, Value column, int64_t tile) {
  column = b.min(column, spec.inner - 16 / plan.elementBytes);
  auto [pair, used] = findHidden(expert, b.add(line, 8 * tile));
  Value byte = b.mul(column, plan.elementBytes);
  Value from = plan.hShared
                   ? b.atByte(shared, b.add(b.mul(pair, plan.hPitch),
                                            b.add(byte, plan.operand)))
                   : rowAddress("hidden_rows", pair, 2 * spec.inner, byte);
  Value h = b.load(words, from, 16);
  return arith::SelectOp::create(b, used, h, LLVM::ZeroOp::create(b, words));
}

/// What a lane multiplies of the 16 rows: 16 bytes of each half per block.
SmallVector<Value> FewRowsBuilder::loadWeights(Value ringSlot) {
  Value slot = ringAddress(ringSlot);
  if (plan.blocks == 1) {
    Value from = b.atByte(slot, b.mul(lane, 16));
    return {b.load(words, from, 16), b.load(words, b.atByte(from, 512), 16)};
  }
  SmallVector<Value> halves;
  Value flip = b.mul(b.bitAnd(line, 1), 4);
  for (int64_t block = 0; block < plan.blocks; ++block) {
    Value chunk = b.bitXor(b.add(quad, 4 * block), flip);
    Value from = b.atByte(slot, b.add(b.mul(line, 128), b.mul(chunk, 16)));
    for (int64_t half = 0; half < 2; ++half)
      halves.push_back(b.load(words, b.atByte(from, 1024 * half), 16));
  }
  return halves;
}

/// In fp8, what the four sums of a lane in each tile are to be multiplied by
/// for the products of a step.
SmallVector<Value> FewRowsBuilder::loadUnits(Phase phase, Value step,
                                             Value ringSlot) {
  if (!spec.fp8)
    return {};
  int64_t blocks = phase == Up ? plan.xScaleBlocks : plan.hScaleBlocks;
  StepPlace place = locate(phase, step);
  Value block = scaleBlock(place.flat, blocks), from = scalesAt(ringSlot);
  Value upper = floatAt(from);
  Value lower = phase == Up ? floatAt(b.atByte(from, 4)) : upper;
  auto ofToken = [&](Value token) -> Value {
    if (phase == Up)
      return floatAt(at(plan.xScales, b.add(b.mul(token, blocks), block)));
    auto [pair, used] = findHidden(place.expert, token);
    Value scale = floatAt(at(plan.hScales, b.add(b.mul(pair, blocks), block)));
    return arith::SelectOp::create(b, used, scale, b.f32(0.0f));
  };
  SmallVector<Value> units;
  for (int64_t tile = 0; tile < plan.tiles; ++tile) {
    // A lane has two columns of the product: tokens, unless both are slices.
    auto column = [&](int64_t i) {
      Value token = b.rem(b.add(b.mul(quad, 2), i), plan.lines);
      return ofToken(b.add(token, 8 * tile));
    };
    Value first = column(0), second = plan.lines > 1 ? column(1) : first;
    for (Value weight : {upper, lower})
      for (Value token : {first, second})
        units.push_back(mulFloat(weight, token));
  }
  return units;
}

/// sums + rows * columns: m16n8k16.
SmallVector<Value> FewRowsBuilder::multiplyStep(ArrayRef<Value> rows,
                                                ArrayRef<Value> columns,
                                                ValueRange sums) {
  Type result = LLVM::LLVMStructType::getLiteral(b.getContext(),
                                                 SmallVector<Type>(4, f32));
  NVVM::MMATypes type = spec.fp8 ? NVVM::MMATypes::f16 : NVVM::MMATypes::bf16;
  auto types = std::array{type, type};
  auto layouts = std::array{NVVM::MMALayout::row, NVVM::MMALayout::col};
  Value product = NVVM::MmaOp::create(
      b, result, rows, columns, sums, ArrayRef<int64_t>{16, 8, 16},
      std::nullopt, std::nullopt,
      spec.fp8 ? std::optional<decltype(types)>() : types, layouts);
  SmallVector<Value> next;
  for (int64_t i = 0; i < 4; ++i)
    next.push_back(LLVM::ExtractValueOp::create(b, product, i));
  return next;
}

/// The words of a vector as operands of products: as they are, or four e4m3 as
/// two pairs of f16, which is exact.  mma.sync of e4m3 does that as well on
/// Hopper, each time that a word is multiplied, and has sums of its own for
/// each instruction.
SmallVector<Value> FewRowsBuilder::operandWords(Value vector) {
  SmallVector<Value> result;
  if (!spec.fp8) {
    for (int64_t i = 0; i < 4; ++i)
      result.push_back(LLVM::ExtractElementOp::create(b, vector, b.i32(i)));
    return result;
  }
  Type bytes = VectorType::get(16, b.getI8Type());
  Type pair = VectorType::get(2, b.getI8Type());
  Type halves = VectorType::get(2, b.getF16Type());
  Value codes = LLVM::BitcastOp::create(b, bytes, vector);
  for (int32_t i = 0; i < 16; i += 2) {
    Value two = LLVM::ShuffleVectorOp::create(b, pair, codes, codes,
                                              ArrayRef<int32_t>{i, i + 1});
    result.push_back(NVVM::ConvertF8x2ToF16x2Op::create(
        b, halves, two, /*relu=*/false, Float8E4M3FNType::get(b.getContext())));
  }
  return result;
}

/// Two products per block and tile, four in fp8: a lane's consecutive words
/// take the places of words 0 and 4 of k in the first, then in the next.
SmallVector<Value> FewRowsBuilder::multiply(SmallVector<Value> sums,
                                            Value ringSlot,
                                            ArrayRef<Value> operand,
                                            ArrayRef<Value> units) {
  SmallVector<SmallVector<Value>> halves;
  for (Value half : loadWeights(ringSlot))
    halves.push_back(operandWords(half));
  SmallVector<Value> products = sums;
  if (spec.fp8)
    products.assign(sums.size(), b.f32(0.0f));
  for (auto [index, vector] : llvm::enumerate(operand)) {
    int64_t block = index / plan.tiles, tile = index % plan.tiles;
    ArrayRef<Value> upper = halves[2 * block], lower = halves[2 * block + 1];
    SmallVector<Value> x = operandWords(vector);
    for (size_t i = 0; i < x.size(); i += 2) {
      SmallVector<Value> rows{upper[i], lower[i], upper[i + 1], lower[i + 1]};
      SmallVector<Value> columns{x[i], x[i + 1]};
      auto mine = MutableArrayRef<Value>(products).slice(4 * tile, 4);
      llvm::copy(multiplyStep(rows, columns, mine), mine.begin());
    }
  }
  if (!spec.fp8)
    return products;
  for (auto [sum, product, unit] : llvm::zip_equal(sums, products, units))
    sum = LLVM::FMAOp::create(b, product, unit, sum);
  return sums;
}

FewRowsBuilder::UnitSums FewRowsBuilder::multiplyUnit(Phase phase,
                                                      const Share &share,
                                                      Value unit,
                                                      ValueRange positions) {
  bool early = phase == Up ? !plan.xShared : !plan.hShared;
  int64_t sums = 4 * plan.tiles;
  SmallVector<Value> carried(sums, b.f32(0.0f));
  llvm::append_range(carried, positions);
  if (early)
    llvm::append_range(carried, loadOperand(phase, unit, b.i32(0)));
  SmallVector<Value> last =
      b.loop(0, stepsOf(phase), carried,
             [&](Value step, ValueRange s) -> SmallVector<Value> {
               ValueRange at = s.slice(sums, positionCount);
               Cursor cursor{at[0], at[1], at[2]};
               Value issueSlot = at[3], slot = at[4];
               SmallVector<Value> operand(s.drop_front(sums + positionCount));
               SmallVector<Value> ahead;
               if (early) // from far
                 ahead = loadOperand(phase, unit, b.add(step, 1));
               sleepSometimes(b.add(step, b.mul(unit, 31)), 0);
               NVVM::CpAsyncWaitGroupOp::create(b, plan.stages - 2);
               if (plan.blocks == 2) // others' copies; the slot before is read
                 NVVM::SyncWarpOp::create(b, b.i32(-1));
               if (!early)
                 operand = loadOperand(phase, unit, step);
               SmallVector<Value> result =
                   multiply(llvm::to_vector_of<Value>(s.take_front(sums)), slot,
                            operand, loadUnits(phase, step, slot));
               issue(share, cursor, issueSlot);
               Cursor after = advance(share, cursor);
               llvm::append_range(
                   result, ValueRange{after.index, after.unit, after.step,
                                      nextSlot(issueSlot), nextSlot(slot)});
               llvm::append_range(result, ahead);
               return result;
             });
  return {llvm::to_vector(ArrayRef(last).take_front(sums)),
          llvm::to_vector(ArrayRef(last).slice(sums, positionCount))};
}

SmallVector<Value> FewRowsBuilder::consumeUp(const Share &share,
                                             ValueRange positions) {
  SmallVector<Value> first{b.i32(0), findUp(share, b.i32(0))};
  llvm::append_range(first, positions);
  SmallVector<Value> last = b.loopWhile(
      first,
      [&](ValueRange s) -> std::pair<Value, SmallVector<Value>> {
        return {b.less(-1, s[1]), llvm::to_vector_of<Value>(s)};
      },
      [&](ValueRange s) -> SmallVector<Value> {
        Value index = s[0], drawn = plan.draws ? drawUp(share) : Value();
        UnitSums unit = multiplyUnit(Up, share, s[1], s.drop_front(2));
        if (plan.draws)
          postUp(drawn, b.add(index, 2), share);
        finishUnit(Up, s[1], b.bitAnd(index, 1), unit.sums);
        Value next = b.add(index, 1);
        SmallVector<Value> result{next, findUp(share, next)};
        llvm::append_range(result, unit.positions);
        return result;
      });
  return llvm::to_vector(ArrayRef(last).drop_front(2));
}

SmallVector<Value> FewRowsBuilder::consumeDown(const Share &share,
                                               ValueRange positions) {
  int64_t stride = plan.warps / plan.downWarps;
  return b.loop(0, share.downUnits, positions,
                [&](Value i, ValueRange s) -> SmallVector<Value> {
                  Value number = b.add(share.down, b.mul(i, stride));
                  UnitSums unit = multiplyUnit(Down, share, number, s);
                  finishUnit(Down, number, b.bitAnd(i, 1), unit.sums);
                  return unit.positions;
                });
}
