// What each rank holds of every weight: slots of experts over ep, width over
// etp, everything else whole.
#include "LayerSharder.h"

using namespace mlir;
using namespace moe;

static Attribute splitAttr(MLIRContext *context, int64_t dim,
                           ArrayRef<int64_t> axes, SplitKind by) {
  return SplitAttr::get(context, dim, DenseI64ArrayAttr::get(context, axes),
                        by);
}

// A checkpoint of the weight with one more leading dimension, which no file
// knows.
static Attribute withGroup(Attribute weight) {
  MLIRContext *context = weight.getContext();
  auto shift = [&](CheckpointAttr one) -> Attribute {
    auto up = [](int64_t dim) { return dim < 0 ? dim : dim + 1; };
    return CheckpointAttr::get(
        context, one.getNames(), one.getFileShape(),
        AffineMapAttr::get(one.getMap().getValue().shiftDims(1)),
        up(one.getExpertDim()), up(one.getPartDim()));
  };
  if (auto one = dyn_cast<CheckpointAttr>(weight))
    return shift(one);
  SmallVector<Attribute> all;
  for (CheckpointAttr one : checkpointAlternatives(weight))
    all.push_back(shift(one));
  return ArrayAttr::get(context, all);
}

Axes moe::sharedAxes(PlacementAttr placement, shard::GridOp grid) {
  Axes axes(placement.getEp().asArrayRef());
  llvm::append_range(axes, placement.getEtp().asArrayRef());
  if (coll::groupSize(grid, placement.getEdp()) != 1)
    llvm::append_range(axes, placement.getEdp().asArrayRef());
  llvm::sort(axes);
  return axes;
}

WeightShare WeightPlanner::shareOf(BlockArgument argument, const Cut &cut) {
  MLIRContext *context = function.getContext();
  auto type = cast<RankedTensorType>(argument.getType());
  Attribute checkpoint =
      function.getArgAttr(argument.getArgNumber(), "moe.weight");
  SmallVector<int64_t> shape(type.getShape());
  if (cut.addGroup) {
    shape.insert(shape.begin(), 1);
    checkpoint = checkpoint ? withGroup(checkpoint) : checkpoint;
  }
  auto slice = SliceAttr::get(context, FlatSymbolRefAttr::get(grid),
                              DenseI64ArrayAttr::get(context, shape),
                              ArrayAttr::get(context, cut.splits), cut.slots,
                              cut.firstOnly);
  for (Attribute entry : cut.splits) {
    auto split = cast<SplitAttr>(entry);
    int64_t &size = shape[split.getDim()];
    size = (split.getBy() == SplitKind::Slots ? cut.slots.size() : size) /
           coll::groupSize(grid, split.getAxes());
  }
  return {slice, RankedTensorType::get(shape, type.getElementType()),
          checkpoint};
}

LogicalResult WeightPlanner::add(Operation *op, StringRef name, Value weight,
                                 const Cut &cut) {
  if (!weight)
    return success();
  auto argument = dyn_cast<BlockArgument>(weight);
  if (!argument) {
    InFlightDiagnostic diag =
        op->emitOpError() << "has `" << name << "` computed by '"
                          << weight.getDefiningOp()->getName()
                          << "', but an argument of the function is expected: "
                             "each rank loads its slice of a weight";
    diag.attachNote(weight.getLoc()) << "it is computed here";
    return diag;
  }
  if (!cast<ShapedType>(weight.getType()).hasStaticShape())
    return op->emitOpError()
           << "has `" << name << "` of type " << weight.getType()
           << ", but a static shape is expected";
  WeightShare share = shareOf(argument, cut);
  auto [entry, isNew] = shares.insert({argument, share});
  if (!isNew && entry->second.slice != share.slice)
    return op->emitOpError()
           << "needs " << share.slice << " of argument "
           << argument.getArgNumber() << " as `" << name
           << "`, but another layer needs " << entry->second.slice
           << " of it; pass the weight as two arguments";
  return success();
}

LogicalResult WeightPlanner::planExperts(ExpertsOp op) {
  MLIRContext *context = function.getContext();
  PlacementAttr placement = op.getPlacementAttr();
  ArrayRef<int64_t> ep = placement.getEp(), etp = placement.getEtp();
  ArrayRef<int32_t> slots = placement.getSlots();
  bool whole =
      coll::groupSize(grid, ep) == 1 &&
      llvm::equal(slots, llvm::seq<int32_t>(0, expertSizes(op).experts));
  bool cutsWidth = coll::groupSize(grid, etp) > 1;

  // `widthDim`: the dimension of I, or -1.
  auto cut = [&](int64_t widthDim) {
    Cut result;
    if (!whole) {
      result.splits.push_back(splitAttr(context, 0, ep, SplitKind::Slots));
      result.slots = placement.getSlots();
    }
    if (cutsWidth && widthDim >= 0)
      result.splits.push_back(
          splitAttr(context, widthDim, etp, SplitKind::Blocks));
    return result;
  };
  // Partial sums over I are added up: a bias of the sum belongs to one of them.
  Cut downBias = cut(-1);
  if (cutsWidth)
    downBias.firstOnly = placement.getEtp();
  return failure(failed(add(op, "up", op.getUp(), cut(2))) ||
                 failed(add(op, "down", op.getDown(), cut(2))) ||
                 failed(add(op, "up_scales", op.getUpScales(), cut(2))) ||
                 failed(add(op, "down_scales", op.getDownScales(), cut(2))) ||
                 failed(add(op, "up_bias", op.getUpBias(), cut(2))) ||
                 failed(add(op, "down_bias", op.getDownBias(), downBias)));
}

LogicalResult WeightPlanner::planShared(SharedExpertOp op) {
  MLIRContext *context = function.getContext();
  Cut cut;
  cut.addGroup = true;
  if (op.getPlacementAttr().getShared() == SharedLayout::Split) {
    Axes axes = sharedAxes(op.getPlacementAttr(), grid);
    if (coll::groupSize(grid, axes) > 1)
      cut.splits.push_back(splitAttr(context, 2, axes, SplitKind::Blocks));
  }
  // up is [1, P, S, H] and down [1, H, S]: the width is dimension 2 of both.
  return failure(failed(add(op, "up", op.getUp(), cut)) ||
                 failed(add(op, "down", op.getDown(), cut)) ||
                 failed(add(op, "up_scales", op.getUpScales(), cut)) ||
                 failed(add(op, "down_scales", op.getDownScales(), cut)) ||
                 failed(add(op, "gate", op.getGate(), Cut())));
}

LogicalResult WeightPlanner::plan() {
  for (Operation &op : function.getBody().front()) {
    if (auto experts = dyn_cast<ExpertsOp>(op)) {
      if (failed(planExperts(experts)))
        return failure();
    } else if (auto shared = dyn_cast<SharedExpertOp>(op)) {
      if (failed(planShared(shared)))
        return failure();
    } else if (auto route = dyn_cast<RouteOp>(op)) {
      if (failed(add(route, "weight", route.getWeight(), Cut())) ||
          failed(add(route, "bias", route.getBias(), Cut())) ||
          failed(add(route, "selection_bias", route.getSelectionBias(), Cut())))
        return failure();
    } else {
      for (Value operand : op.getOperands())
        if (auto argument = dyn_cast<BlockArgument>(operand);
            argument && cast<ShapedType>(argument.getType()).hasStaticShape())
          if (failed(add(&op, "operand", argument, Cut())))
            return failure();
    }
  }
  // Weights that nothing uses stay whole.
  for (BlockArgument argument : function.getArguments())
    if (!cast<ShapedType>(argument.getType()).isDynamicDim(0))
      shares.insert({argument, shareOf(argument, Cut())});
  return success();
}

void WeightPlanner::apply() {
  for (auto &[argument, share] : shares) {
    BlockArgument value = argument;
    value.setType(share.type);
    function.setArgAttr(argument.getArgNumber(), "moe.slice", share.slice);
    if (share.checkpoint)
      function.setArgAttr(argument.getArgNumber(), "moe.weight",
                          share.checkpoint);
  }
  function.setFunctionType(FunctionType::get(
      function.getContext(), function.getBody().front().getArgumentTypes(),
      function.getFunctionType().getResults()));
}
