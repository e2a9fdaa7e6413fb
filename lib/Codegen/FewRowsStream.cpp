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
            b.add(share.up, b.mul(cursor.unit, plan.warps / plan.upWarps));
        copyUp(unit, cursor.step, ringSlot);
      },
      [&] {
        Value number = b.sub(cursor.unit, share.upUnits);
        b.ifThen(b.less(number, share.downUnits), [&] {
          Value unit =
              b.add(share.down, b.mul(number, plan.warps / plan.downWarps));
          copyDown(unit, cursor.step, ringSlot);
        });
      });
  NVVM::CpAsyncCommitGroupOp::create(b);
}

/// One block: 16 bytes a lane of each half, where it will read them itself. Two
/// blocks: four times four rows of 128 bytes; odd rows have their halves
/// exchanged, so that rows read together stand in different banks.
void FewRowsBuilder::copyRows(Phase phase, Value slot, Value row, Value column,
                              Value valid, Value ringSlot) {
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
  copyRows(Up, slot, row, b.mul(flat, plan.block), b.boolean(true), ringSlot);
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
  copyRows(Down, slot, row, column, valid, ringSlot);
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

/// sums + rows * columns: m16n8k16 of bf16, or m16n8k32 of e4m3, whose operands
/// have the same bytes.
SmallVector<Value> FewRowsBuilder::multiplyStep(ArrayRef<Value> rows,
                                                ArrayRef<Value> columns,
                                                ValueRange sums) {
  Type result = LLVM::LLVMStructType::getLiteral(b.getContext(),
                                                 SmallVector<Type>(4, f32));
  Value product;
  if (spec.fp8) {
    SmallVector<Value> operands(rows);
    llvm::append_range(operands, columns);
    llvm::append_range(operands, sums);
    product = b.assembly(
        result, operands,
        "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {$0, $1, $2, $3}, "
        "{$4, $5, $6, $7}, {$8, $9}, {$10, $11, $12, $13};",
        "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f");
  } else {
    auto types = std::array{NVVM::MMATypes::bf16, NVVM::MMATypes::bf16};
    auto layouts = std::array{NVVM::MMALayout::row, NVVM::MMALayout::col};
    product = NVVM::MmaOp::create(b, result, rows, columns, sums,
                                  ArrayRef<int64_t>{16, 8, 16}, std::nullopt,
                                  std::nullopt, types, layouts);
  }
  SmallVector<Value> next;
  for (int64_t i = 0; i < 4; ++i)
    next.push_back(LLVM::ExtractValueOp::create(b, product, i));
  return next;
}

/// Two products per block and tile: a lane's four consecutive words take the
/// places of words 0 and 4 of k in the first, then in the second.
SmallVector<Value> FewRowsBuilder::multiply(SmallVector<Value> sums,
                                            Value ringSlot,
                                            ArrayRef<Value> operand,
                                            ArrayRef<Value> units) {
  SmallVector<Value> halves = loadWeights(ringSlot);
  auto part = [&](Value vector, int64_t i) -> Value {
    return LLVM::ExtractElementOp::create(b, vector, b.i32(i));
  };
  SmallVector<Value> products = sums;
  if (spec.fp8)
    products.assign(sums.size(), b.f32(0.0f));
  for (auto [index, x] : llvm::enumerate(operand)) {
    int64_t block = index / plan.tiles, tile = index % plan.tiles;
    Value upper = halves[2 * block], lower = halves[2 * block + 1];
    for (int64_t i = 0; i < 4; i += 2) {
      SmallVector<Value> rows{part(upper, i), part(lower, i),
                              part(upper, i + 1), part(lower, i + 1)};
      SmallVector<Value> columns{part(x, i), part(x, i + 1)};
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

SmallVector<Value> FewRowsBuilder::consume(Phase phase, const Share &share,
                                           ValueRange positions) {
  Value units = phase == Up ? share.upUnits : share.downUnits;
  Value first = phase == Up ? share.up : share.down;
  int64_t stride = plan.warps / (phase == Up ? plan.upWarps : plan.downWarps);
  bool early = phase == Up ? !plan.xShared : !plan.hShared;
  Value steps = stepsOf(phase);
  return b.loop(
      0, units, positions,
      [&](Value i, ValueRange outer) -> SmallVector<Value> {
        Value unit = b.add(first, b.mul(i, stride));
        SmallVector<Value> carried(4 * plan.tiles, b.f32(0.0f));
        llvm::append_range(carried, outer);
        SmallVector<Value> last = b.loop(
            0, steps, carried,
            [&](Value step, ValueRange s) -> SmallVector<Value> {
              ValueRange at = s.slice(4 * plan.tiles, 4);
              Cursor cursor{at[0], at[1]};
              SmallVector<Value> operand;
              if (early) // from far: while the weights come
                operand = loadOperand(phase, unit, step);
              sleepSometimes(b.add(step, b.mul(unit, 31)), 0);
              NVVM::CpAsyncWaitGroupOp::create(b, plan.stages - 2);
              if (plan.blocks == 2) // others' copies; the slot before is read
                NVVM::SyncWarpOp::create(b, b.i32(-1));
              if (!early)
                operand = loadOperand(phase, unit, step);
              SmallVector<Value> result = multiply(
                  llvm::to_vector_of<Value>(s.take_front(4 * plan.tiles)),
                  at[3], operand, loadUnits(phase, step, at[3]));
              issue(share, cursor, at[2]);
              Cursor after = advance(share, cursor);
              llvm::append_range(result,
                                 ValueRange{after.unit, after.step,
                                            nextSlot(at[2]), nextSlot(at[3])});
              return result;
            });
        SmallVector<Value> sums(
            ArrayRef<Value>(last).take_front(4 * plan.tiles));
        finishUnit(phase, unit, b.bitAnd(i, 1), sums);
        return SmallVector<Value>(
            ArrayRef<Value>(last).slice(4 * plan.tiles, 4));
      });
}
