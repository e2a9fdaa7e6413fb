// What happens to the sums of a unit in a few-rows kernel.
#include "FewRowsBuilder.h"

#include "moe/Codegen/ScalarMath.h"

using namespace mlir;
using namespace moe;
using namespace moe::fewrows;

/// Sums of the warps that share a unit, in order, by the first of them.  Two
/// buffers: a warp is at most one exchange ahead of the reader.
void FewRowsBuilder::finishUnit(Phase phase, Value unit, Value parity,
                                SmallVector<Value> sums) {
  int64_t sharers = phase == Up ? plan.upWarps : plan.downWarps;
  auto finish = [&] {
    SmallVector<Value> total = sumSlices(sums);
    phase == Up ? finishUp(unit, total) : finishDown(unit, total);
  };
  if (sharers == 1)
    return finish();
  Type quadType = VectorType::get(4, f32);
  auto buffer = [&](Value writer, int64_t tile) {
    Value index = b.add(b.mul(parity, plan.warps), writer);
    Value byte = b.add(b.mul(b.add(b.mul(index, plan.tiles), tile), 512),
                       b.mul(lane, 16));
    return b.atByte(shared, b.add(byte, plan.partials));
  };
  Value sharer = b.rem(warp, sharers);
  Value leads = b.equal(sharer, 0);
  b.ifElse(
      leads, [] {},
      [&] {
        for (int64_t tile = 0; tile < plan.tiles; ++tile) {
          Value vector = LLVM::UndefOp::create(b, quadType);
          for (int64_t i = 0; i < 4; ++i)
            vector = LLVM::InsertElementOp::create(
                b, vector, sums[4 * tile + i], b.i32(i));
          b.store(vector, buffer(warp, tile), 16);
        }
      });
  NVVM::BarrierOp::create(b, Type(), b.add(b.div(warp, sharers), 1),
                          b.i32(32 * sharers), NVVM::BarrierReductionAttr(),
                          Value());
  b.ifThen(leads, [&] {
    sums = b.loop(1, sharers, sums,
                  [&](Value other, ValueRange before) -> SmallVector<Value> {
                    SmallVector<Value> after;
                    for (auto [i, sum] : llvm::enumerate(before)) {
                      Value from = buffer(b.add(warp, other), i / 4);
                      Value part = floatAt(b.atElement(from, f32, i % 4));
                      after.push_back(addFloat(sum, part));
                    }
                    return after;
                  });
    finish();
  });
}

/// Adds up the diagonal: afterwards slice 0 holds the sums.  One line: both
/// halves come down to one value each.
SmallVector<Value> FewRowsBuilder::sumSlices(SmallVector<Value> sums) {
  auto exchangeAll = [&](int64_t distance) {
    for (Value &sum : sums)
      sum = addFloat(sum, b.exchange(sum, distance));
  };
  if (plan.lines == 1) {
    Value odd = b.equal(b.bitAnd(b.shr(lane, 2), 1), 1);
    sums = {arith::SelectOp::create(b, odd, sums[1], sums[0]),
            arith::SelectOp::create(b, odd, sums[3], sums[2])};
    exchangeAll(4);
  }
  // A slice further is `lines` rows and `lines` columns further.
  if (plan.lines <= 2)
    exchangeAll(9);
  if (plan.lines <= 4)
    exchangeAll(18);
  return sums;
}

Value FewRowsBuilder::activate(Value gate, Value up) {
  return spec.epilogue == GroupedEpilogue::Swiglu
             ? createSwiglu(b, gate, up)
             : createClampedSwiglu(b, gate, up, spec.alpha, spec.limit);
}

/// h of the pairs of this lane's line.
void FewRowsBuilder::finishUp(Value unit, ArrayRef<Value> sums) {
  int64_t units = spec.inner / plan.lines, half = sums.size() / plan.tiles / 2;
  Value expert = b.div(unit, units);
  Value inner = b.add(b.mul(b.rem(unit, units), plan.lines), line);
  Value first = b.mul(quad, half);
  Value mine = b.both(b.equal(slice, 0), b.less(first, plan.lines));
  b.ifThen(mine, [&] {
    for (int64_t tile = 0; tile < plan.tiles; ++tile)
      for (int64_t i = 0; i < half; ++i) {
        Value token = b.add(first, 8 * tile + i);
        Value pair =
            word(plan.pairOf, b.add(b.mul(expert, spec.maxTokens), token));
        b.ifThen(b.less(-1, pair), [&] {
          Value gate = sums[2 * half * tile + i];
          Value up = sums[2 * half * tile + half + i];
          Value weight = floatAt(at(plan.weights, pair));
          if (spec.weightOnInput) {
            gate = mulFloat(gate, weight);
            up = mulFloat(up, weight);
          }
          if (spec.bias) {
            Value row = b.add(b.mul(b.shr(inner, 3), 16), b.bitAnd(inner, 7));
            row = b.add(row, b.mul(word(plan.list, expert), 2 * spec.inner));
            Value bias = b.atElement(argument("up_bias"), f32, row);
            gate = addFloat(gate, floatAt(bias));
            up = addFloat(up, floatAt(b.atElement(bias, f32, 8)));
          }
          Value h = activate(gate, up);
          if (!spec.weightOnInput)
            h = mulFloat(h, weight);
          Value to =
              rowAddress("hidden_rows", pair, 2 * spec.inner, b.mul(inner, 2));
          b.store(arith::TruncFOp::create(b, bf16, h), to);
        });
      }
  });
}

/// The biases of the token's experts, weighted.
Value FewRowsBuilder::addBiases(Value y, Value token, Value column) {
  return b
      .loop(0, count, y,
            [&](Value expert, ValueRange s) -> SmallVector<Value> {
              Value pair = word(plan.pairOf,
                                b.add(b.mul(expert, spec.maxTokens), token));
              Value used = b.less(-1, pair);
              Value row =
                  b.add(b.mul(word(plan.list, expert), spec.hidden), column);
              Value bias =
                  floatAt(b.atElement(argument("down_bias"), f32, row));
              if (!spec.weightOnInput)
                bias = mulFloat(
                    bias, floatAt(at(plan.weights, b.select(used, pair, 0))));
              return {
                  arith::SelectOp::create(b, used, addFloat(s[0], bias), s[0])};
            })
      .front();
}

void FewRowsBuilder::finishDown(Value unit, ArrayRef<Value> sums) {
  int64_t half = sums.size() / plan.tiles / 2;
  Value first = b.mul(quad, half);
  Value mine = b.both(b.equal(slice, 0), b.less(first, plan.lines));
  b.ifThen(mine, [&] {
    for (int64_t tile = 0; tile < plan.tiles; ++tile)
      for (int64_t i = 0; i < half; ++i) {
        Value token = b.add(first, 8 * tile + i);
        b.ifThen(b.less(token, tokens), [&] {
          for (int64_t part = 0; part < 2; ++part) {
            Value column = b.add(b.mul(unit, 2 * plan.lines),
                                 b.add(line, part * plan.lines));
            Value y = sums[2 * half * tile + part * half + i];
            if (spec.bias)
              y = addBiases(y, token, column);
            Value byte = b.mul(column, 2);
            if (spec.addend) {
              Value from = rowAddress("addend", token, 2 * spec.hidden, byte);
              y = addFloat(y,
                           arith::ExtFOp::create(b, f32, b.load(bf16, from)));
            }
            b.store(arith::TruncFOp::create(b, bf16, y),
                    rowAddress("y", token, 2 * spec.hidden, byte));
          }
        });
      }
  });
}
