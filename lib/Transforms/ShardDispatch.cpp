// How tokens reach the ranks of their experts, and results come back: the three
// programs of a routed layer.
#include "LayerSharder.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace moe;

static RankedTensorType tensorOf(ArrayRef<int64_t> shape, Type element) {
  return RankedTensorType::get(shape, element);
}

// [?, n]: rows.
static RankedTensorType rowsType(int64_t width, Type element) {
  return tensorOf({ShapedType::kDynamic, width}, element);
}

static Type elementOf(Value value) {
  return cast<ShapedType>(value.getType()).getElementType();
}

static int64_t slotsPerRank(ExpertsOp op, int64_t ep) {
  return op.getPlacementAttr().getSlots().size() / ep;
}

// A product of rows with the experts' weights, in the element type of the
// layer's result.
namespace {
struct Product {
  Value lhs, rhs, rows, offsets;
  Value gather = {}, scatter = {}, rowWeights = {}, bias = {}, scales = {};
  ActivationAttr activation = {};
  int64_t gatherDivisor = 1;

  Value emit(ImplicitLocOpBuilder &b, Type element) const {
    auto type = cast<ShapedType>(rhs.getType());
    int64_t width = type.getDimSize(type.getRank() - 2);
    return GroupedMatmulOp::create(b, rowsType(width, element), lhs, rhs, rows,
                                   offsets, gather, scatter, rowWeights, bias,
                                   /*outs=*/Value(), activation, gatherDivisor,
                                   scales)
        .getResult();
  }
};
} // namespace

LayerSharder::Sorted LayerSharder::sort(ExpertsOp op, Value ids, Value first,
                                        int64_t window) {
  Type i32 = builder.getI32Type();
  Type types[] = {tensorOf({ShapedType::kDynamic}, i32),
                  rowsType(expertSizes(op).topK, i32),
                  tensorOf({window + 1}, i32)};
  // The weights are local by now: the number of experts stands in the slots.
  ArrayRef<int32_t> slots = op.getPlacementAttr().getSlots();
  int64_t experts =
      llvm::count_if(slots, [](int32_t expert) { return expert >= 0; });
  auto sorted = SortOp::create(builder, types, ids, first, ValueRange(),
                               experts, slots, window);
  return {sorted.getResult(0), sorted.getResult(1), sorted.getResult(2)};
}

Value LayerSharder::combine(ExpertsOp op, Value rows, Value positions,
                            Value weights, Addend addend) {
  return CombineOp::create(builder, op.getResult().getType(), rows, positions,
                           op.getWeightOnInput() ? Value() : weights,
                           addend.value, addend.gate,
                           /*outs=*/Value())
      .getResult();
}

// Ranks that share the experts of one replica.
static Axes replicaAxes(PlacementAttr placement) {
  Axes axes(placement.getEp().asArrayRef());
  llvm::append_range(axes, placement.getEtp().asArrayRef());
  llvm::sort(axes);
  return axes;
}

// Both make partial sums of the same tokens on the same ranks: one collective
// adds them up.
bool LayerSharder::sumsTogether(ExpertsOp op, SharedExpertOp shared) {
  if (!shared || shared.getPlacementAttr().getShared() != SharedLayout::Split)
    return false;
  Axes axes = replicaAxes(op.getPlacementAttr());
  return op.getPlacementAttr().getDispatcher() == Dispatcher::AllGather &&
         sizeOf(axes) > 1 &&
         axes == sharedAxes(shared.getPlacementAttr(), grid);
}

Value LayerSharder::routed(ExpertsOp op, SharedExpertOp shared) {
  if (sumsTogether(op, shared))
    return byAllGather(op, Addend(), shared);
  Addend addend = shared ? sharedExpert(shared) : Addend();
  PlacementAttr placement = op.getPlacementAttr();
  if (sizeOf(placement.getEp()) == 1 && sizeOf(placement.getEtp()) == 1)
    return onOneRank(op, addend);
  return placement.getDispatcher() == Dispatcher::AllToAll
             ? byAllToAll(op, addend)
             : byAllGather(op, addend, SharedExpertOp());
}

// Every expert is here, whole: rows are gathered while they are multiplied.
Value LayerSharder::onOneRank(ExpertsOp op, Addend addend) {
  Type element = elementOf(op.getResult());
  int64_t topK = expertSizes(op).topK;
  Sorted sorted = sort(op, op.getIds(), Value(), slotsPerRank(op, 1));
  Value rows = scaled(tokens, topK);
  Value hidden =
      Product{.lhs = op.getX(),
              .rhs = op.getUp(),
              .rows = rows,
              .offsets = sorted.offsets,
              .gather = sorted.order,
              .rowWeights = op.getWeightOnInput() ? op.getWeights() : Value(),
              .bias = op.getUpBias(),
              .scales = op.getUpScales(),
              .activation = op.getActivation(),
              .gatherDivisor = topK}
          .emit(builder, element);
  Value out = Product{.lhs = hidden,
                      .rhs = op.getDown(),
                      .rows = rows,
                      .offsets = sorted.offsets,
                      .bias = op.getDownBias(),
                      .scales = op.getDownScales()}
                  .emit(builder, element);
  return combine(op, out, sorted.positions, op.getWeights(), addend);
}

// Rows travel to the ranks of their experts over ep. Ranks that share an
// expert's width (etp) then see the same rows, each makes partial sums over its
// part of I, and the sums are added up on the way back, which is the transpose
// of the way out.
Value LayerSharder::byAllToAll(ExpertsOp op, Addend addend) {
  PlacementAttr placement = op.getPlacementAttr();
  ArrayRef<int64_t> ep = placement.getEp(), etp = placement.getEtp();
  int64_t numEp = sizeOf(ep), numEtp = sizeOf(etp),
          slots = slotsPerRank(op, numEp), topK = expertSizes(op).topK;
  int64_t perToken = std::min(topK, slots);
  Axes both(ep);
  llvm::append_range(both, etp);
  Type element = elementOf(op.getResult()), i32 = builder.getI32Type();
  auto countsType = tensorOf({numEp, slots}, i32);
  auto xType = cast<RankedTensorType>(op.getX().getType()),
       yType = cast<RankedTensorType>(op.getResult().getType());

  // Rows in slot order, hence by destination.
  Sorted sorted = sort(op, op.getIds(), Value(), numEp * slots);
  Value sentRows = scaled(tokens, topK);
  Value rows = TakeOp::create(builder, xType, op.getX(), sorted.order, sentRows,
                              op.getWeightOnInput() ? op.getWeights() : Value(),
                              Value(), topK)
                   .getResult();
  Value send = CountsOp::create(builder, countsType, sorted.offsets, Value())
                   .getResult();

  // By (source, slot).
  Value received = send, receivedRows = sentRows;
  if (numEp > 1) {
    received = coll::AllToAllOp::create(builder, countsType, send, gridName,
                                        attr(ep), Value())
                   .getResult();
    receivedRows = rowsOf(received, ep, perToken);
    rows = coll::AllToAllVOp::create(builder, xType, rows, send, received,
                                     receivedRows, gridName, attr(ep), Value())
               .getResult();
  }
  // By (partner, source, slot).
  Value counts = received, allRows = receivedRows;
  if (numEtp > 1) {
    counts = coll::AllGatherOp::create(builder,
                                       tensorOf({numEtp, numEp, slots}, i32),
                                       received, gridName, attr(etp), Value())
                 .getResult();
    allRows = rowsOf(counts, both, perToken);
    rows = coll::AllGatherVOp::create(builder, xType, rows, counts, allRows,
                                      gridName, attr(etp), Value())
               .getResult();
  }

  Type regrouped[] = {tensorOf({ShapedType::kDynamic}, i32),
                      tensorOf({slots + 1}, i32)};
  auto regroup =
      RegroupOp::create(builder, regrouped, counts, allRows, ValueRange());
  Value order = regroup.getResult(0), offsets = regroup.getResult(1);
  Value hidden = Product{.lhs = rows,
                         .rhs = op.getUp(),
                         .rows = allRows,
                         .offsets = offsets,
                         .gather = order,
                         .bias = op.getUpBias(),
                         .scales = op.getUpScales(),
                         .activation = op.getActivation()}
                     .emit(builder, element);
  Value out = Product{.lhs = hidden,
                      .rhs = op.getDown(),
                      .rows = allRows,
                      .offsets = offsets,
                      .scatter = order,
                      .bias = op.getDownBias(),
                      .scales = op.getDownScales()}
                  .emit(builder, element);

  if (numEtp > 1)
    out = coll::ReduceScatterVOp::create(builder, yType, out, counts,
                                         receivedRows, gridName, attr(etp),
                                         Value())
              .getResult();
  if (numEp > 1)
    out = coll::AllToAllVOp::create(builder, yType, out, received, send,
                                    sentRows, gridName, attr(ep), Value())
              .getResult();
  return combine(op, out, sorted.positions, op.getWeights(), addend);
}

// Every rank of a replica (ep x etp) sees all its tokens and picks the rows of
// its own slots; the partial sums of tokens are added up on the way back.
Value LayerSharder::byAllGather(ExpertsOp op, Addend addend,
                                SharedExpertOp partner) {
  PlacementAttr placement = op.getPlacementAttr();
  ArrayRef<int64_t> ep = placement.getEp();
  int64_t numEp = sizeOf(ep), slots = slotsPerRank(op, numEp),
          topK = expertSizes(op).topK;
  Axes both = replicaAxes(placement);
  Type element = elementOf(op.getResult());

  Value x = gatherTokens(op.getX(), both),
        ids = gatherTokens(op.getIds(), both),
        weights = gatherTokens(op.getWeights(), both);
  Gathered group = gatherTokenCounts(both);
  Value first;
  if (numEp > 1)
    first = scaled(
        coll::IndexOp::create(builder, gridName, attr(ep)).getResult(), slots);
  Sorted sorted = sort(op, ids, first, slots);
  Value rows;
  if (numEp > 1) {
    Value mine =
        CountsOp::create(builder, tensorOf({1, slots}, builder.getI32Type()),
                         sorted.offsets, Value())
            .getResult();
    rows = rowsOf(mine, both, std::min(topK, slots));
  } else {
    rows = scaled(group.rows, topK);
  }
  Value hidden =
      Product{.lhs = x,
              .rhs = op.getUp(),
              .rows = rows,
              .offsets = sorted.offsets,
              .gather = sorted.order,
              .rowWeights = op.getWeightOnInput() ? weights : Value(),
              .bias = op.getUpBias(),
              .scales = op.getUpScales(),
              .activation = op.getActivation(),
              .gatherDivisor = topK}
          .emit(builder, element);
  Value out = Product{.lhs = hidden,
                      .rhs = op.getDown(),
                      .rows = rows,
                      .offsets = sorted.offsets,
                      .bias = op.getDownBias(),
                      .scales = op.getDownScales()}
                  .emit(builder, element);
  Addend partial = partner ? sharedPartialSums(partner, both) : Addend();
  Value sums = combine(op, out, sorted.positions, weights, partial);
  Value mine = coll::ReduceScatterVOp::create(builder, op.getResult().getType(),
                                              sums, group.counts, tokens,
                                              gridName, attr(both), Value())
                   .getResult();
  // Only now: every rank of the group would add it before.
  return addend.value ? combine(op, mine, Value(), Value(), addend) : mine;
}
