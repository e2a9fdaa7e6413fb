// How tokens reach the ranks of their experts, and results come back: the
// programs of a routed layer. docs/Dispatch.md draws what moves.
#include "LayerSharder.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "moe/Analysis/MeshLayout.h"

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

LayerSharder::Sorted LayerSharder::sort(ExpertsOp op, Value ids, Window window,
                                        int64_t group) {
  Type i32 = builder.getI32Type();
  Type types[] = {tensorOf({ShapedType::kDynamic}, i32),
                  rowsType(expertSizes(op).topK, i32),
                  tensorOf({window.slots / group + 1}, i32)};
  // The weights are local by now: the number of experts stands in the slots.
  ArrayRef<int32_t> slots = op.getPlacementAttr().getSlots();
  int64_t experts =
      llvm::count_if(slots, [](int32_t expert) { return expert >= 0; });
  auto sorted = SortOp::create(builder, types, ids, window.first, ValueRange(),
                               experts, slots, window.slots, group);
  return {sorted.getResult(0), sorted.getResult(1), sorted.getResult(2)};
}

Value LayerSharder::take(Value rows, Value order, Value count, int64_t topK,
                         Value weights) {
  return TakeOp::create(builder, rows.getType(), rows, order, count, weights,
                        Value(), topK)
      .getResult();
}

Value LayerSharder::countsOf(Value offsets, int64_t members, int64_t bins) {
  return CountsOp::create(builder,
                          tensorOf({members, bins}, builder.getI32Type()),
                          offsets, Value())
      .getResult();
}

// The first slot of this rank's part: each member over `axes` holds `slots`.
Value LayerSharder::firstSlot(ArrayRef<int64_t> axes, int64_t slots) {
  return scaled(
      coll::IndexOp::create(builder, gridName, attr(axes)).getResult(), slots);
}

Value LayerSharder::combine(ExpertsOp op, Value rows, Value positions,
                            Value weights, Addend addend) {
  return CombineOp::create(builder, op.getResult().getType(), rows, positions,
                           op.getWeightOnInput() ? Value() : weights,
                           addend.value, addend.gate,
                           /*outs=*/Value())
      .getResult();
}

Axes moe::replicaAxes(PlacementAttr placement) {
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
  return placement.getDispatcher() == Dispatcher::AllGather
             ? byAllGather(op, addend, SharedExpertOp())
             : byExchanges(op, addend);
}

// Every expert is here, whole: rows are gathered while they are multiplied.
Value LayerSharder::onOneRank(ExpertsOp op, Addend addend) {
  Type element = elementOf(op.getResult());
  int64_t topK = expertSizes(op).topK;
  Sorted sorted = sort(op, op.getIds(), {Value(), slotsPerRank(op, 1)});
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

//===----------------------------------------------------------------------===//
// Exchanges: all_to_all and two_level, with and without dedup
//===----------------------------------------------------------------------===//

static void addAxes(Axes &axes, ArrayRef<int64_t> more) {
  llvm::append_range(axes, more);
  llvm::sort(axes);
}

// All ranks of ep at once, or first the nodes and then the ranks of a node.
// Groups of one rank are no level.
SmallVector<LayerSharder::Level, 2>
LayerSharder::levelsOf(PlacementAttr placement) {
  ArrayRef<int64_t> ep = placement.getEp();
  int64_t slots = placement.getSlots().size();
  SmallVector<Level, 2> levels;
  auto add = [&](ArrayRef<int64_t> axes) {
    slots /= sizeOf(axes);
    if (sizeOf(axes) > 1)
      levels.push_back({Axes(axes), slots});
  };
  if (placement.getDispatcher() == Dispatcher::TwoLevel) {
    const auto *node = llvm::find_if(ep, [&](int64_t axis) {
      return coll::axisName(grid, axis) == kNodeAxis;
    });
    size_t between = node - ep.begin() + 1;
    add(ep.take_front(between));
    ep = ep.drop_front(between);
  }
  add(ep);
  return levels;
}

Value LayerSharder::byExchanges(ExpertsOp op, Addend addend) {
  PlacementAttr placement = op.getPlacementAttr();
  SmallVector<Level, 2> levels = levelsOf(placement);
  if (levels.empty()) {
    // Each rank has all experts and a part of their width: with one row for
    // each token, the exchange is a gather.
    if (placement.getDedup())
      return byAllGather(op, addend, SharedExpertOp());
    levels.push_back(
        {Axes(placement.getEp().asArrayRef()), slotsPerRank(op, 1)});
  }
  Batch own{op.getX(), op.getIds(), op.getWeights(), tokens, Value(), Axes()};
  Window all{Value(), static_cast<int64_t>(placement.getSlots().size())};
  return exchange(op, own, all, levels, addend);
}

// Only the last exchange may send a row for each expert: what follows another
// one must still know the token.
Value LayerSharder::exchange(ExpertsOp op, const Batch &batch, Window window,
                             ArrayRef<Level> levels, Addend addend) {
  if (levels.empty())
    return sumsOverWidth(op, batch, window);
  if (levels.size() == 1 && !op.getPlacementAttr().getDedup())
    return exchangePairs(op, batch, window, levels.front(), addend);
  return exchangeTokens(op, batch, window, levels, addend);
}

// One row for each token and expert travels to the rank of the expert. Ranks
// that share an expert's width (etp) then see the same rows, each makes partial
// sums over its part of I, and the sums are added up on the way back, which is
// the transpose of the way out.
Value LayerSharder::exchangePairs(ExpertsOp op, const Batch &batch,
                                  Window window, const Level &level,
                                  Addend addend) {
  ArrayRef<int64_t> ep = level.axes, etp = op.getPlacementAttr().getEtp();
  int64_t numEp = sizeOf(ep), numEtp = sizeOf(etp), slots = level.slots,
          topK = expertSizes(op).topK;
  int64_t perToken = std::min(topK, slots);
  Axes from(batch.from), both;
  addAxes(from, ep);
  addAxes(both = from, etp);
  Type element = elementOf(op.getResult()), i32 = builder.getI32Type();
  auto countsType = tensorOf({numEp, slots}, i32);
  Type xType = batch.x.getType(), yType = op.getResult().getType();

  // Rows in slot order, hence by destination.
  Sorted sorted = sort(op, batch.ids, window);
  Value send = countsOf(sorted.offsets, numEp, slots);
  Value sentRows =
      window.first ? rowsOf(send, batch.from, topK) : scaled(batch.rows, topK);
  Value rows = take(batch.x, sorted.order, sentRows, topK,
                    op.getWeightOnInput() ? batch.weights : Value());

  // By (source, slot).
  Value received = send, receivedRows = sentRows;
  if (numEp > 1) {
    received = coll::AllToAllOp::create(builder, countsType, send, gridName,
                                        attr(ep), Value())
                   .getResult();
    receivedRows = rowsOf(received, from, perToken);
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
  return combine(op, out, sorted.positions, batch.weights, addend);
}

// One row for each token and member that holds some of its experts, with the
// ids and weights of all of them beside it, so that the receiver can go on as
// from its own tokens. It returns one row, their sum.
Value LayerSharder::exchangeTokens(ExpertsOp op, const Batch &batch,
                                   Window window, ArrayRef<Level> levels,
                                   Addend addend) {
  const Level &level = levels.front();
  int64_t members = sizeOf(level.axes), topK = expertSizes(op).topK;
  Sorted sorted = sort(op, batch.ids, window, level.slots);
  Value send = countsOf(sorted.offsets, members, 1);
  Value sentRows = rowsOf(send, batch.from, std::min(topK, members));
  Value received = coll::AllToAllOp::create(builder, send.getType(), send,
                                            gridName, attr(level.axes), Value())
                       .getResult();
  Batch there;
  there.from = batch.from;
  addAxes(there.from, level.axes);
  there.counts = received;
  there.rows = rowsOf(received, there.from, 1);
  auto travel = [&](Value value, StringRef payload) {
    Value rows = take(value, sorted.order, sentRows, topK);
    return coll::AllToAllVOp::create(builder, value.getType(), rows, send,
                                     received, there.rows, gridName,
                                     attr(level.axes), Value(),
                                     builder.getStringAttr(payload))
        .getResult();
  };
  there.x = travel(batch.x, "rows");
  there.ids = travel(batch.ids, "ids");
  there.weights = travel(batch.weights, "weights");

  Axes within;
  for (int64_t axis : op.getPlacementAttr().getEp().asArrayRef()) {
    within.push_back(axis);
    if (axis == level.axes.back())
      break;
  }
  Window part{firstSlot(within, level.slots), level.slots};
  Value sums = exchange(op, there, part, levels.drop_front(), Addend());
  Value back = coll::AllToAllVOp::create(builder, op.getResult().getType(),
                                         sums, received, send, sentRows,
                                         gridName, attr(level.axes), Value())
                   .getResult();
  return combine(op, back, sorted.positions, Value(), addend);
}

// Ranks that share an expert's width see the same tokens; their sums are added
// up.
Value LayerSharder::sumsOverWidth(ExpertsOp op, const Batch &batch,
                                  Window window) {
  ArrayRef<int64_t> etp = op.getPlacementAttr().getEtp();
  if (sizeOf(etp) == 1)
    return partialSums(op, batch, window, Addend());
  SmallVector<int64_t> shape = {sizeOf(etp)};
  llvm::append_range(shape,
                     cast<ShapedType>(batch.counts.getType()).getShape());
  Batch all;
  all.from = batch.from;
  addAxes(all.from, etp);
  all.counts =
      coll::AllGatherOp::create(builder, tensorOf(shape, builder.getI32Type()),
                                batch.counts, gridName, attr(etp), Value())
          .getResult();
  all.rows = rowsOf(all.counts, all.from, 1);
  auto gather = [&](Value value, StringRef payload) {
    return coll::AllGatherVOp::create(builder, value.getType(), value,
                                      all.counts, all.rows, gridName, attr(etp),
                                      Value(), builder.getStringAttr(payload))
        .getResult();
  };
  all.x = gather(batch.x, "rows");
  all.ids = gather(batch.ids, "ids");
  all.weights = gather(batch.weights, "weights");
  Value sums = partialSums(op, all, window, Addend());
  return coll::ReduceScatterVOp::create(builder, op.getResult().getType(), sums,
                                        all.counts, batch.rows, gridName,
                                        attr(etp), Value())
      .getResult();
}

//===----------------------------------------------------------------------===//
// all_gather, and what it shares with exchanges of tokens
//===----------------------------------------------------------------------===//

// Picks the batch's rows of the window's slots while they are multiplied.
Value LayerSharder::partialSums(ExpertsOp op, const Batch &batch, Window window,
                                Addend addend) {
  Type element = elementOf(op.getResult());
  int64_t topK = expertSizes(op).topK;
  Sorted sorted = sort(op, batch.ids, window);
  Value rows;
  if (window.first)
    rows = rowsOf(countsOf(sorted.offsets, 1, window.slots), batch.from,
                  std::min(topK, window.slots));
  else
    rows = scaled(batch.rows, topK);
  Value hidden =
      Product{.lhs = batch.x,
              .rhs = op.getUp(),
              .rows = rows,
              .offsets = sorted.offsets,
              .gather = sorted.order,
              .rowWeights = op.getWeightOnInput() ? batch.weights : Value(),
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
  return combine(op, out, sorted.positions, batch.weights, addend);
}

// Every rank of a replica (ep x etp) sees all its tokens and picks the rows of
// its own slots; the partial sums of tokens are added up on the way back. Ranks
// that hold the same tokens anyway need not gather from each other, and all
// want the sums.
Value LayerSharder::byAllGather(ExpertsOp op, Addend addend,
                                SharedExpertOp partner) {
  PlacementAttr placement = op.getPlacementAttr();
  ArrayRef<int64_t> ep = placement.getEp();
  int64_t slots = slotsPerRank(op, sizeOf(ep));
  Axes both = replicaAxes(placement), others = both;
  if (keepsReplicas)
    llvm::erase_if(others, [&](int64_t axis) {
      return llvm::is_contained(sameTokens, axis);
    });
  bool gathers = sizeOf(others) > 1;
  Batch all{op.getX(), op.getIds(), op.getWeights(), tokens, Value(), both};
  if (gathers) {
    all.x = gatherTokens(op.getX(), others);
    all.ids = gatherTokens(op.getIds(), others, "ids");
    all.weights = gatherTokens(op.getWeights(), others, "weights");
    all.rows = gatherTokenCounts(others).rows;
  }
  Window window{sizeOf(ep) > 1 ? firstSlot(ep, slots) : Value(), slots};
  Addend partial = partner ? sharedPartialSums(partner, all) : Addend();
  Value sums = partialSums(op, all, window, partial);
  if (gathers)
    sums =
        coll::ReduceScatterVOp::create(builder, op.getResult().getType(), sums,
                                       gatherTokenCounts(others).counts, tokens,
                                       gridName, attr(others), Value())
            .getResult();
  if (keepsReplicas)
    sums = coll::AllReduceOp::create(builder, sums.getType(), sums, gridName,
                                     attr(sameTokens), Value())
               .getResult();
  // Only now: every rank of the group would add it before.
  return addend.value ? combine(op, sums, Value(), Value(), addend) : sums;
}
