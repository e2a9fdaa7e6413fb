// Each thread takes a consecutive part of the tokens. A token's scores are
// computed by vectors into the thread's scratch memory; what is selected by is
// kept as integer keys in the order of the floats (NaN above all), so that
// the best expert is found by an integer maximum and then the first place
// that holds it: ties go to the lowest id. A key that is taken becomes `taken`,
// below every key of a float, so that ids stay distinct.
#include "Team.h"
#include "dialects/Moe/MoeDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "moe/Conversion/MoeToVector.h"
#include "moe/Conversion/TeamLoops.h"
#include "moe/Conversion/VectorMath.h"
#include <cmath>

using namespace mlir;
using namespace moe;

static constexpr int32_t taken = std::numeric_limits<int32_t>::min();

namespace {

// Builds the selection of one token. Arrays in scratch memory are as long as a
// whole number of vectors.
class Selection {
public:
  Selection(ImplicitLocOpBuilder &b, SelectExpertsOp op, int64_t lanes);
  void selectFor(Value token);

private:
  // Steps, in the order of #moe.router.
  void copyLogits(Value token);
  void computeKeys();
  void keepBestGroups();
  void selectExperts(Value token);
  void computeWeights(Value token);

  // scores[0..count) = softmax or sigmoid of themselves; what is behind
  // `count` holds -inf.
  void applyScore(Value scores, int64_t count);
  void applySoftmax(Value scores, int64_t count);
  Value groupKey(Value group);
  // The place of the largest key, which is taken.
  Value takeBest(Value keys, int64_t count);
  Value weightSum();

  int64_t padded(int64_t count) const { return llvm::alignTo(count, lanes); }
  VectorType floats() const { return VectorType::get(lanes, b.getF32Type()); }
  VectorType integers() const { return VectorType::get(lanes, b.getI32Type()); }
  Value splat(int32_t value) {
    return arith::ConstantOp::create(
        b, DenseIntElementsAttr::get(integers(), value));
  }
  Value splat(float value) {
    return arith::ConstantOp::create(b,
                                     DenseFPElementsAttr::get(floats(), value));
  }
  Value i32(int32_t value) {
    return arith::ConstantOp::create(b, b.getI32IntegerAttr(value));
  }
  Value f32(float value) {
    return arith::ConstantOp::create(b, b.getF32FloatAttr(value));
  }
  Value index(int64_t value) { return team::constant(b, value); }
  Value load(VectorType type, Value buffer, Value first) {
    return vector::LoadOp::create(b, type, buffer, first);
  }
  // The lanes that hold an element, of the vector that begins at `first`.
  Value valid(Value first, int64_t count);
  void forVectors(int64_t count, function_ref<void(Value first)> body);
  Value accumulate(int64_t count, Value start,
                   function_ref<Value(Value first, Value before)> body);

  Value keyOf(Value value);
  Value floatOf(Value key);

  ImplicitLocOpBuilder &b;
  SelectExpertsOp op;
  RouterAttr router;
  int64_t lanes, experts;
  Value scores, keys, groupKeys, weights;
};

struct LowerSelectExperts : OpRewritePattern<SelectExpertsOp> {
  LowerSelectExperts(MLIRContext *context, const CpuTile &tile)
      : OpRewritePattern(context), tile(tile) {}

  LogicalResult matchAndRewrite(SelectExpertsOp op,
                                PatternRewriter &rewriter) const override {
    auto logits = dyn_cast<MemRefType>(op.getLogits().getType());
    if (op.getOuts().empty() || !logits || !hasIdentityLayouts(op) ||
        !unsupportedRouter(op.getRouter()).empty())
      return rewriter.notifyMatchFailure(
          op, "outs, identity layouts and a router of this target are "
              "expected");
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    Selection selection(b, op, tile.lanes);
    Value tokens = b.createOrFold<memref::DimOp>(op.getLogits(), 0);
    auto [begin, end] = team::slice(b, tokens);
    team::forLoop(b, begin, end, 1, [&](ImplicitLocOpBuilder &, Value token) {
      selection.selectFor(token);
    });
    meet(b);
    rewriter.eraseOp(op);
    return success();
  }

private:
  CpuTile tile;
};

} // namespace

std::string moe::unsupportedRouter(RouterAttr router) {
  if (router.getScore() == Score::SparseMixer)
    return "scores by `sparsemixer`, but the cpu target computes `softmax` "
           "and `sigmoid`";
  if (router.getCapacity() != Capacity::None)
    return ("drops tokens by the rule `" +
            stringifyCapacity(router.getCapacity()) +
            "`, but the cpu target drops none")
        .str();
  if (router.getNormalize() == Normalize::AfterDrop)
    return "normalises by `after_drop`, but the cpu target drops no tokens "
           "and computes `none`, `sum` and `p_norm`";
  return "";
}

void moe::populateSelectExpertsToVector(RewritePatternSet &patterns,
                                        const CpuTile &tile) {
  patterns.add<LowerSelectExperts>(patterns.getContext(), tile);
}

//===----------------------------------------------------------------------===//
// Vectors over arrays
//===----------------------------------------------------------------------===//

Selection::Selection(ImplicitLocOpBuilder &b, SelectExpertsOp op, int64_t lanes)
    : b(b), op(op), router(op.getRouter()), lanes(lanes),
      experts(cast<MemRefType>(op.getLogits().getType()).getDimSize(1)) {
  auto room = [&](int64_t count, Type element) {
    return team::scratch(b, MemRefType::get({padded(count)}, element));
  };
  scores = room(experts, b.getF32Type());
  keys = room(experts, b.getI32Type());
  weights = room(router.getTopK(), b.getF32Type());
  if (router.getNGroup() > 1)
    groupKeys = room(router.getNGroup(), b.getI32Type());
}

Value Selection::valid(Value first, int64_t count) {
  Value left = arith::SubIOp::create(b, index(count), first);
  return vector::CreateMaskOp::create(b, VectorType::get(lanes, b.getI1Type()),
                                      left);
}

void Selection::forVectors(int64_t count, function_ref<void(Value)> body) {
  team::forLoop(b, index(0), index(count), lanes,
                [&](ImplicitLocOpBuilder &, Value first) { body(first); });
}

Value Selection::accumulate(int64_t count, Value start,
                            function_ref<Value(Value, Value)> body) {
  auto step = [&](ImplicitLocOpBuilder &, Value first,
                  ValueRange before) -> SmallVector<Value> {
    return {body(first, before.front())};
  };
  return team::forLoop(b, index(0), index(count), lanes, start, step).front();
}

// Signed integers in the order of the floats; -0 is 0, NaN is the largest.
Value Selection::keyOf(Value value) {
  Type type = value.getType();
  bool isVector = isa<VectorType>(type);
  auto integer = [&](int32_t x) { return isVector ? splat(x) : i32(x); };
  Type integerType = isVector ? Type(integers()) : b.getI32Type();
  Value bits = arith::BitcastOp::create(b, integerType, value);
  Value zero = isVector ? splat(0.0f) : f32(0.0f);
  Value isZero =
      arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, value, zero);
  bits = arith::SelectOp::create(b, isZero, integer(0), bits);
  Value sign = arith::ShRSIOp::create(b, bits, integer(31));
  Value flip = arith::AndIOp::create(b, sign, integer(0x7fffffff));
  Value key = arith::XOrIOp::create(b, bits, flip);
  Value isNan =
      arith::CmpFOp::create(b, arith::CmpFPredicate::UNO, value, value);
  return arith::SelectOp::create(b, isNan, integer(0x7fffffff), key);
}

// The inverse on one key; the largest key is a NaN.
Value Selection::floatOf(Value key) {
  Value sign = arith::ShRSIOp::create(b, key, i32(31));
  Value flip = arith::AndIOp::create(b, sign, i32(0x7fffffff));
  Value bits = arith::XOrIOp::create(b, key, flip);
  return arith::BitcastOp::create(b, b.getF32Type(), bits);
}

//===----------------------------------------------------------------------===//
// Scores
//===----------------------------------------------------------------------===//

void Selection::selectFor(Value token) {
  copyLogits(token);
  if (!router.getScoreAfterTopK())
    applyScore(scores, experts);
  computeKeys();
  if (router.getNGroup() > 1)
    keepBestGroups();
  selectExperts(token);
  computeWeights(token);
}

void Selection::copyLogits(Value token) {
  Value filler = splat(-INFINITY);
  forVectors(experts, [&](Value first) {
    Value row = vector::MaskedLoadOp::create(b, floats(), op.getLogits(),
                                             ValueRange{token, first},
                                             valid(first, experts), filler);
    vector::StoreOp::create(b, row, scores, first);
  });
}

void Selection::applyScore(Value array, int64_t count) {
  if (router.getScore() == Score::Softmax)
    return applySoftmax(array, count);
  forVectors(count, [&](Value first) {
    Value score = sigmoidF32(b, load(floats(), array, first));
    vector::StoreOp::create(b, score, array, first);
  });
}

void Selection::applySoftmax(Value array, int64_t count) {
  // A NaN never becomes the maximum, but makes the sum, hence all, NaN.
  Value lowest = splat(-INFINITY);
  Value highest = accumulate(count, lowest, [&](Value first, Value before) {
    Value logit = load(floats(), array, first);
    Value over =
        arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, logit, before);
    return arith::SelectOp::create(b, over, logit, before).getResult();
  });
  Value maximum =
      vector::ReductionOp::create(b, vector::CombiningKind::MAXNUMF, highest);
  Value shift = vector::BroadcastOp::create(b, floats(), maximum);
  Value sums = accumulate(count, splat(0.0f), [&](Value first, Value before) {
    Value logit = load(floats(), array, first);
    Value power = expF32(b, arith::SubFOp::create(b, logit, shift));
    vector::StoreOp::create(b, power, array, first);
    return arith::AddFOp::create(b, before, power).getResult();
  });
  Value sum = vector::ReductionOp::create(b, vector::CombiningKind::ADD, sums);
  Value divisor = vector::BroadcastOp::create(b, floats(), sum);
  forVectors(count, [&](Value first) {
    Value power = load(floats(), array, first);
    Value score = arith::DivFOp::create(b, power, divisor);
    vector::StoreOp::create(b, score, array, first);
  });
}

//===----------------------------------------------------------------------===//
// Selection
//===----------------------------------------------------------------------===//

void Selection::computeKeys() {
  forVectors(experts, [&](Value first) {
    Value value = load(floats(), scores, first);
    Value mask = valid(first, experts);
    if (Value bias = op.getSelectionBias())
      value = arith::AddFOp::create(
          b, value,
          vector::MaskedLoadOp::create(b, floats(), bias, first, mask,
                                       splat(0.0f)));
    Value key = arith::SelectOp::create(b, mask, keyOf(value), splat(taken));
    vector::StoreOp::create(b, key, keys, first);
  });
}

// The key of a group's score.
Value Selection::groupKey(Value group) {
  int64_t size = experts / router.getNGroup();
  Value first = arith::MulIOp::create(b, group, index(size));
  Value end = arith::AddIOp::create(b, first, index(size));
  SmallVector<Value> none = {i32(taken), i32(taken)};
  auto step = [&](ImplicitLocOpBuilder &, Value expert,
                  ValueRange best) -> SmallVector<Value> {
    Value key = memref::LoadOp::create(b, keys, expert);
    Value lower = arith::MinSIOp::create(b, best[0], key);
    return {arith::MaxSIOp::create(b, best[0], key),
            arith::MaxSIOp::create(b, best[1], lower)};
  };
  SmallVector<Value> best = team::forLoop(b, first, end, 1, none, step);
  if (router.getGroupScore() == GroupScore::Max || size == 1)
    return best[0];
  Value sum = arith::AddFOp::create(b, floatOf(best[0]), floatOf(best[1]));
  return keyOf(sum);
}

void Selection::keepBestGroups() {
  int64_t groups = router.getNGroup(), size = experts / groups;
  forVectors(groups, [&](Value first) {
    vector::StoreOp::create(b, splat(taken), groupKeys, first);
  });
  team::forLoop(b, index(0), index(groups), 1,
                [&](ImplicitLocOpBuilder &, Value group) {
                  memref::StoreOp::create(b, groupKey(group), groupKeys, group);
                });
  team::forLoop(
      b, index(0), index(router.getTopkGroup()), 1,
      [&](ImplicitLocOpBuilder &, Value) { takeBest(groupKeys, groups); });
  // Experts of the groups that were not taken.
  bool isZero = router.getMaskedFill() == MaskedFill::Zero;
  Value masked = keyOf(f32(isZero ? 0.0f : -INFINITY));
  team::forLoop(b, index(0), index(experts), 1,
                [&](ImplicitLocOpBuilder &, Value expert) {
                  Value group = arith::DivUIOp::create(b, expert, index(size));
                  Value groupKey = memref::LoadOp::create(b, groupKeys, group);
                  Value kept = arith::CmpIOp::create(
                      b, arith::CmpIPredicate::eq, groupKey, i32(taken));
                  Value key = memref::LoadOp::create(b, keys, expert);
                  Value next = arith::SelectOp::create(b, kept, key, masked);
                  memref::StoreOp::create(b, next, keys, expert);
                });
}

Value Selection::takeBest(Value array, int64_t count) {
  Value highest =
      accumulate(count, splat(taken), [&](Value first, Value before) {
        return arith::MaxSIOp::create(b, before, load(integers(), array, first))
            .getResult();
      });
  Value best =
      vector::ReductionOp::create(b, vector::CombiningKind::MAXSI, highest);
  Value wanted = vector::BroadcastOp::create(b, integers(), best);
  SmallVector<int32_t> numbers = llvm::to_vector(llvm::seq<int32_t>(0, lanes));
  Value lane = arith::ConstantOp::create(
      b, DenseIntElementsAttr::get(integers(), ArrayRef<int32_t>(numbers)));
  Value nowhere = splat(std::numeric_limits<int32_t>::max());
  Value places = accumulate(count, nowhere, [&](Value first, Value before) {
    Value found = arith::CmpIOp::create(b, arith::CmpIPredicate::eq,
                                        load(integers(), array, first), wanted);
    Value base = arith::IndexCastOp::create(b, b.getI32Type(), first);
    Value here = arith::AddIOp::create(
        b, lane, vector::BroadcastOp::create(b, integers(), base).getResult());
    Value place = arith::SelectOp::create(b, found, here, nowhere);
    return arith::MinSIOp::create(b, before, place).getResult();
  });
  Value place =
      vector::ReductionOp::create(b, vector::CombiningKind::MINSI, places);
  Value wide = arith::IndexCastOp::create(b, b.getIndexType(), place);
  memref::StoreOp::create(b, i32(taken), array, wide);
  return place;
}

void Selection::selectExperts(Value token) {
  // What the softmax of few weights does not see.
  forVectors(router.getTopK(), [&](Value first) {
    vector::StoreOp::create(b, splat(-INFINITY), weights, first);
  });
  Value ids = op.getOuts()[1];
  team::forLoop(b, index(0), index(router.getTopK()), 1,
                [&](ImplicitLocOpBuilder &, Value place) {
                  Value id = takeBest(keys, experts);
                  memref::StoreOp::create(b, id, ids, ValueRange{token, place});
                  Value expert =
                      arith::IndexCastOp::create(b, b.getIndexType(), id);
                  Value score = memref::LoadOp::create(b, scores, expert);
                  memref::StoreOp::create(b, score, weights, place);
                });
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

// Sum of the weights, or of their magnitudes, in ascending order.
Value Selection::weightSum() {
  bool magnitudes = router.getNormalize() == Normalize::PNorm;
  auto step = [&](ImplicitLocOpBuilder &, Value place,
                  ValueRange sum) -> SmallVector<Value> {
    Value weight = memref::LoadOp::create(b, weights, place);
    if (magnitudes) {
      Value bits = arith::BitcastOp::create(b, b.getI32Type(), weight);
      bits = arith::AndIOp::create(b, bits, i32(0x7fffffff));
      weight = arith::BitcastOp::create(b, b.getF32Type(), bits);
    }
    return {arith::AddFOp::create(b, sum.front(), weight)};
  };
  Value sum =
      team::forLoop(b, index(0), index(router.getTopK()), 1, f32(0.0f), step)
          .front();
  if (router.getNormalizeEpsilon() == 0.0)
    return sum;
  return arith::AddFOp::create(b, sum, f32(router.getNormalizeEpsilon()));
}

void Selection::computeWeights(Value token) {
  if (router.getScoreAfterTopK())
    applyScore(weights, router.getTopK());
  Value sum;
  if (router.getNormalize() != Normalize::None)
    sum = weightSum();
  team::forLoop(b, index(0), index(router.getTopK()), 1,
                [&](ImplicitLocOpBuilder &, Value place) {
                  Value weight = memref::LoadOp::create(b, weights, place);
                  if (sum)
                    weight = arith::DivFOp::create(b, weight, sum);
                  if (router.getScale() != 1.0)
                    weight = arith::MulFOp::create(b, weight,
                                                   f32(router.getScale()));
                  memref::StoreOp::create(b, weight, op.getOuts()[0],
                                          ValueRange{token, place});
                });
}
