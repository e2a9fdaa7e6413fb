// One warp per token.
#include "SelectExpertsBuilder.h"

#include "moe/Codegen/ScalarMath.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

#include <limits>

using namespace mlir;
using namespace moe;

static constexpr int64_t warps = 4;
static constexpr int64_t taken = std::numeric_limits<int64_t>::min();

LogicalResult
moe::verifySelectExperts(const SelectExpertsSpec &spec,
                         function_ref<InFlightDiagnostic()> emitError) {
  if (spec.experts < 1 || spec.experts > 1024)
    return emitError() << "selection among " << spec.experts
                       << " experts, expected 1 to 1024";
  if (spec.topK < 1 || spec.topK > 32 || spec.topK > spec.experts)
    return emitError() << "selection of " << spec.topK << " of " << spec.experts
                       << " experts, expected at least 1 and at most "
                       << std::min<int64_t>(32, spec.experts);
  bool grouped = spec.groupScore != SelectGroups::None;
  if (grouped != (spec.groups > 1))
    return emitError() << "selection has " << spec.groups << " groups "
                       << (grouped ? "and" : "but no")
                       << " group score, expected both or neither";
  if (spec.groups < 1 || spec.groups > 32 || spec.experts % spec.groups)
    return emitError() << "selection has " << spec.groups << " groups of "
                       << spec.experts
                       << " experts, expected a divisor up to 32";
  if (spec.keptGroups < 1 || spec.keptGroups > spec.groups)
    return emitError() << "selection keeps " << spec.keptGroups << " of "
                       << spec.groups << " groups, expected 1 to "
                       << spec.groups;
  if (grouped && spec.groupScore == SelectGroups::Top2Sum &&
      spec.experts / spec.groups < 2)
    return emitError() << "groups of one expert have no two largest scores, "
                          "expected the score max";
  return success();
}

KernelInterface moe::getSelectExpertsInterface(const SelectExpertsSpec &spec) {
  KernelInterface interface;
  interface.name = spec.name;
  interface.threads = 32 * warps;
  interface.sharedBytes = spec.groups > 1 ? 4 * warps * spec.experts : 0;
  auto add = [&](StringRef name, ParameterKind kind = ParameterKind::Pointer) {
    interface.parameters.push_back({name.str(), kind});
  };
  add("logits");
  if (spec.bias)
    add("bias");
  add("ids");
  add("weights");
  add("tokens", ParameterKind::Integer);
  interface.grid = {"tokens", warps};
  return interface;
}

Value SelectBuilder::max(Value a, Value c) {
  // arith.maxnumf would become a libdevice call.
  return LLVM::MaxNumOp::create(b, a, c);
}

Value SelectBuilder::exchange64(Value value, int64_t distance) {
  Type i32 = b.getI32Type(), i64 = b.getI64Type();
  Value low = arith::TruncIOp::create(b, i32, value);
  Value high = arith::TruncIOp::create(
      b, i32, arith::ShRUIOp::create(b, value, b.i64(32)));
  low = arith::ExtUIOp::create(b, i64, b.exchange(low, distance));
  high = arith::ExtUIOp::create(b, i64, b.exchange(high, distance));
  return arith::OrIOp::create(b, arith::ShLIOp::create(b, high, b.i64(32)),
                              low);
}

Value SelectBuilder::loadRow(Value array, Value first, int64_t i,
                             float otherwise) {
  Value index = b.add(first, b.min(expert(i), spec.experts - 1));
  Value value = b.load(f32, b.atElement(array, f32, index));
  return arith::SelectOp::create(b, inside(i), value, b.f32(otherwise));
}

/// Scores in place of logits; lanes past the last expert hold minus infinity.
void SelectBuilder::scoreAll(SmallVectorImpl<Value> &scores) {
  if (spec.score == SelectScore::Sigmoid) {
    for (Value &score : scores)
      score = createSigmoid(b, score);
    return;
  }
  Value top = scores[0];
  for (Value score : ArrayRef<Value>(scores).drop_front())
    top = max(top, score);
  top = b.reduce(top, [&](Value x, Value y) { return max(x, y); });
  Value sum = b.f32(0.0f);
  for (Value &score : scores) {
    score = createExp(b, arith::SubFOp::create(b, score, top));
    sum = arith::AddFOp::create(b, sum, score);
  }
  sum = b.reduce(sum, [&](Value x, Value y) {
    return arith::AddFOp::create(b, x, y).getResult();
  });
  for (Value &score : scores)
    score = arith::DivFOp::create(b, score, sum);
}

/// An i64 that orders by c, then by descending id; NaN above every number.
Value SelectBuilder::getKey(Value c, Value id) {
  // -0 becomes +0: they tie.
  Value bits = b.toBits(arith::AddFOp::create(b, c, b.f32(0.0f)));
  Value sign = arith::ShRSIOp::create(b, bits, b.i32(31));
  Value ordered = b.bitXor(bits, b.bitAnd(sign, 0x7FFFFFFF));
  Value isNaN = arith::CmpFOp::create(b, arith::CmpFPredicate::UNO, c, c);
  ordered = b.select(isNaN, 0x7FFFFFFF, ordered);
  Type i64 = b.getI64Type();
  Value high = arith::ShLIOp::create(b, arith::ExtSIOp::create(b, i64, ordered),
                                     b.i64(32));
  Value low = arith::ExtUIOp::create(b, i64, b.sub(1023, id));
  return arith::OrIOp::create(b, high, low);
}

Value SelectBuilder::largest(Value a, Value c) {
  return arith::MaxSIOp::create(b, a, c);
}

/// The score of one group, whose c stand in shared memory; NaN stays NaN.
Value SelectBuilder::scoreGroup(Value cells) {
  int64_t size = spec.experts / spec.groups;
  Value low = b.f32(-std::numeric_limits<float>::infinity());
  auto best =
      b.loop(0, size, {low, low},
             [&](Value i, ValueRange carried) -> SmallVector<Value> {
               Value c = b.load(f32, b.atElement(cells, f32, i));
               Value second = arith::MaximumFOp::create(
                   b, carried[1], arith::MinimumFOp::create(b, carried[0], c));
               return {arith::MaximumFOp::create(b, carried[0], c), second};
             });
  if (spec.groupScore == SelectGroups::Max)
    return best[0];
  return arith::AddFOp::create(b, best[0], best[1]);
}

/// Lane g scores group g; the best ones are found as experts are.
void SelectBuilder::maskGroups(SmallVectorImpl<Value> &c) {
  int64_t size = spec.experts / spec.groups;
  Value cells = arrays.cells;
  for (int64_t i = 0; i < perLane; ++i)
    b.ifThen(inside(i),
             [&] { b.store(c[i], b.atElement(cells, f32, expert(i))); });
  NVVM::SyncWarpOp::create(b, b.i32(-1));
  Value group = b.min(lane, spec.groups - 1);
  Value score = scoreGroup(b.atElement(cells, f32, b.mul(group, size)));
  // A warp of the router writes them again, for its next token.
  NVVM::SyncWarpOp::create(b, b.i32(-1));
  Value key = arith::SelectOp::create(b, b.less(lane, spec.groups),
                                      getKey(score, lane), b.i64(taken));
  Value kept = b.i32(0); // one bit per group
  for (int64_t round = 0; round < spec.keptGroups; ++round) {
    Value top = key;
    for (int64_t distance = 16; distance; distance /= 2)
      top = largest(top, exchange64(top, distance));
    Value winner = b.sub(1023, arith::TruncIOp::create(b, b.getI32Type(), top));
    winner = b.bitAnd(winner, 31);
    kept = b.bitOr(kept, b.shl(1, winner));
    key = arith::SelectOp::create(b, b.equal(lane, winner), b.i64(taken), key);
  }
  Value mask =
      b.f32(spec.maskZero ? 0.0f : -std::numeric_limits<float>::infinity());
  for (int64_t i = 0; i < perLane; ++i) {
    Value bit = b.bitAnd(b.shr(kept, b.div(expert(i), size)), 1);
    c[i] = arith::SelectOp::create(b, b.equal(bit, 1), c[i], mask);
  }
}

Value SelectBuilder::finishWeight(Value weight) {
  if (spec.normalize) {
    Value live = b.less(lane, spec.topK);
    Value sum = arith::SelectOp::create(b, live, weight, b.f32(0.0f));
    sum = b.reduce(sum, [&](Value x, Value y) {
      return arith::AddFOp::create(b, x, y).getResult();
    });
    sum = arith::AddFOp::create(b, sum, b.f32(spec.epsilon));
    weight = arith::DivFOp::create(b, weight, sum);
  }
  if (spec.scale != 1.0)
    weight = arith::MulFOp::create(b, weight, b.f32(spec.scale));
  return weight;
}

/// Lane j ends up with the j-th selected expert and its weight.
void SelectBuilder::select(ArrayRef<Value> c, ArrayRef<Value> scores,
                           Value token) {
  SmallVector<Value> keys;
  for (int64_t i = 0; i < perLane; ++i)
    keys.push_back(arith::SelectOp::create(
        b, inside(i), getKey(c[i], expert(i)), b.i64(taken)));
  Value id = b.i32(0);
  Value weight = b.f32(-std::numeric_limits<float>::infinity());
  for (int64_t j = 0; j < spec.topK; ++j) {
    Value top = keys[0];
    for (Value key : ArrayRef<Value>(keys).drop_front())
      top = largest(top, key);
    for (int64_t distance = 16; distance; distance /= 2)
      top = largest(top, exchange64(top, distance));
    Value low = arith::TruncIOp::create(b, b.getI32Type(), top);
    Value winner = b.sub(1023, b.bitAnd(low, 1023));
    Value score = scores[0];
    for (int64_t i = 0; i < perLane; ++i) {
      Value here = b.equal(expert(i), winner);
      keys[i] = arith::SelectOp::create(b, here, b.i64(taken), keys[i]);
      if (i)
        score = arith::SelectOp::create(b, b.equal(b.shr(winner, 5), i),
                                        scores[i], score);
    }
    score = b.fromLane(score, b.bitAnd(winner, 31));
    Value mine = b.equal(lane, j);
    id = b.select(mine, winner, id);
    weight = arith::SelectOp::create(b, mine, score, weight);
  }
  if (spec.scoreAfter) {
    SmallVector<Value> chosen{weight}; // other lanes hold minus infinity
    scoreAll(chosen);
    weight = chosen[0];
  }
  weight = finishWeight(weight);
  b.ifThen(b.less(lane, spec.topK), [&] {
    Value at = b.add(b.mul(token, spec.topK), lane);
    b.store(id, b.atElement(arrays.ids, b.getI32Type(), at));
    b.store(weight, b.atElement(arrays.weights, f32, at));
  });
}

void SelectBuilder::selectFor(Value token) {
  SmallVector<Value> logits;
  Value first = b.mul(token, spec.experts);
  for (int64_t i = 0; i < perLane; ++i)
    logits.push_back(loadRow(arrays.logits, first, i,
                             -std::numeric_limits<float>::infinity()));
  SmallVector<Value> scores = logits;
  if (!spec.scoreAfter)
    scoreAll(scores);
  SmallVector<Value> c = scores;
  if (spec.bias)
    for (int64_t i = 0; i < perLane; ++i)
      c[i] = arith::AddFOp::create(b, c[i],
                                   loadRow(arrays.bias, b.i32(0), i, 0.0f));
  if (spec.groups > 1)
    maskGroups(c);
  select(c, scores, token);
}

static void buildBody(DeviceBuilder &b, gpu::GPUModuleOp module,
                      const SelectExpertsSpec &spec,
                      LLVM::LLVMFuncOp function) {
  Value warp = b.uniform(b.shr(b.threadId(), 5));
  SelectBuilder::Arrays arrays;
  unsigned next = 0;
  arrays.logits = function.getArgument(next++);
  if (spec.bias)
    arrays.bias = function.getArgument(next++);
  arrays.ids = function.getArgument(next++);
  arrays.weights = function.getArgument(next++);
  if (spec.groups > 1)
    arrays.cells = b.atByte(getDynamicShared(b, b.getLoc(), module),
                            b.mul(warp, 4 * spec.experts));
  Value token = b.add(b.mul(b.blockId(), warps), warp);
  b.ifThen(b.less(token, function.getArgument(next)),
           [&] { SelectBuilder(b, arrays, spec).selectFor(token); });
}

LLVM::LLVMFuncOp moe::buildSelectExperts(gpu::GPUModuleOp module,
                                         const SelectExpertsSpec &spec) {
  return buildKernel(module, getSelectExpertsInterface(spec),
                     [&](DeviceBuilder &b, LLVM::LLVMFuncOp function) {
                       buildBody(b, module, spec, function);
                     });
}
