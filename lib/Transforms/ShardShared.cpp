// The shared expert: whole on each rank for its own tokens, or its width cut
// over all ranks for everyone's.
#include "LayerSharder.h"

using namespace mlir;
using namespace moe;

// Down of up, with this rank's part of the width: partial sums where it is cut.
Value LayerSharder::sharedProducts(SharedExpertOp op, Value x, Value rows) {
  auto yType = cast<RankedTensorType>(op.getResult().getType());
  int64_t width = cast<ShapedType>(op.getUp().getType()).getDimSize(2);
  auto hiddenType = RankedTensorType::get({ShapedType::kDynamic, width},
                                          yType.getElementType());
  auto product = [&](Type type, Value lhs, Value rhs, Value scales,
                     ActivationAttr activation) {
    return GroupedMatmulOp::create(
               builder, type, lhs, rhs, rows, /*offsets=*/Value(),
               /*gather=*/Value(), /*scatter=*/Value(), /*row_weights=*/Value(),
               /*bias=*/Value(), /*outs=*/Value(), activation,
               /*gather_divisor=*/1, scales)
        .getResult();
  };
  Value hidden =
      product(hiddenType, x, op.getUp(), op.getUpScales(), op.getActivation());
  return product(yType, hidden, op.getDown(), op.getDownScales(),
                 ActivationAttr());
}

// The gate of the rows in `x`, or null.
Value LayerSharder::sharedGate(SharedExpertOp op, Value x) {
  if (!op.getGate())
    return {};
  auto type =
      RankedTensorType::get({ShapedType::kDynamic, 1}, builder.getF32Type());
  return TokenGateOp::create(builder, type, x, op.getGate(), Value())
      .getResult();
}

LayerSharder::Addend LayerSharder::sharedExpert(SharedExpertOp op) {
  Addend result;
  result.gate = sharedGate(op, op.getX());
  Axes axes = sharedAxes(op.getPlacementAttr(), grid);
  if (op.getPlacementAttr().getShared() == SharedLayout::Replicated ||
      sizeOf(axes) == 1) {
    result.value = sharedProducts(op, op.getX(), tokens);
    return result;
  }
  Value x = gatherTokens(op.getX(), axes);
  Gathered group = gatherTokenCounts(axes);
  Value sums = sharedProducts(op, x, group.rows);
  result.value = coll::ReduceScatterVOp::create(
                     builder, op.getResult().getType(), sums, group.counts,
                     tokens, gridName, attr(axes), Value())
                     .getResult();
  return result;
}

LayerSharder::Addend LayerSharder::sharedPartialSums(SharedExpertOp op,
                                                     const Batch &all) {
  return {sharedProducts(op, all.x, all.rows), sharedGate(op, all.x)};
}
