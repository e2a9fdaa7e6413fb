// placed -> sharded: from one program on global tensors to the one program that
// every rank runs on its own rows.
//
// Invariant: a value with one row per token (TokenRows) is, on each rank, the
// rows of that rank's tokens; other tensors are weights, of which each rank
// holds the slice that its argument names. Everything is checked before
// anything is changed.
#include "LayerSharder.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "moe/Transforms/Passes.h"

namespace moe {
#define GEN_PASS_DEF_SHARDLAYERPASS
#include "moe/Transforms/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

//===----------------------------------------------------------------------===//
// Groups
//===----------------------------------------------------------------------===//

LayerSharder::LayerSharder(func::FuncOp function, shard::GridOp grid,
                           PlacementAttr placement)
    : function(function), grid(grid), gridName(FlatSymbolRefAttr::get(grid)),
      builder(function.getLoc(), function.getContext()),
      allAxes(llvm::to_vector(llvm::seq<int64_t>(0, grid.getRank()))) {
  attentionSaysSo = static_cast<bool>(placement.getAttnTp());
  if (placement.getBoundary() == Boundary::Replicated)
    sameTokens = placement.getAttnTp()
                     ? Axes(placement.getAttnTp().asArrayRef())
                     : allAxes;
}

AffineMapAttr LayerSharder::bound(ArrayRef<int64_t> axes, int64_t perToken) {
  int64_t members = sizeOf(axes), ranks = sizeOf(allAxes);
  AffineExpr maximum = builder.getAffineSymbolExpr(0);
  // All ranks together hold all tokens; some of them at most their number of
  // longest shares.
  AffineExpr held =
      members == ranks ? maximum : maximum.ceilDiv(ranks) * members;
  return AffineMapAttr::get(AffineMap::get(0, 1, held * perToken));
}

Value LayerSharder::rowsOf(Value counts, ArrayRef<int64_t> axes,
                           int64_t perToken) {
  return coll::RowsOp::create(builder, counts, bound(axes, perToken), gridName)
      .getResult();
}

Value LayerSharder::scaled(Value rows, int64_t factor) {
  if (factor == 1)
    return rows;
  return arith::MulIOp::create(builder, rows,
                               arith::ConstantIndexOp::create(builder, factor));
}

LayerSharder::Gathered LayerSharder::gatherTokenCounts(ArrayRef<int64_t> axes) {
  Gathered &group = gatheredCounts[attr(axes)];
  if (group.counts)
    return group;
  Type i32 = builder.getI32Type();
  if (!localCount) {
    Value count = arith::IndexCastOp::create(builder, i32, tokens);
    localCount = tensor::FromElementsOp::create(
        builder, RankedTensorType::get({1}, i32), count);
  }
  group.counts = coll::AllGatherOp::create(
                     builder, RankedTensorType::get({sizeOf(axes), 1}, i32),
                     localCount, gridName, attr(axes), Value())
                     .getResult();
  Axes from(axes);
  if (keepsReplicas)
    llvm::append_range(from, sameTokens);
  group.rows = rowsOf(group.counts, from, 1);
  return group;
}

Value LayerSharder::gatherTokens(Value value, ArrayRef<int64_t> axes,
                                 StringRef payload) {
  Gathered group = gatherTokenCounts(axes);
  Value &gathered = gatheredTokens[{value, attr(axes)}];
  if (!gathered)
    gathered = coll::AllGatherVOp::create(builder, value.getType(), value,
                                          group.counts, group.rows, gridName,
                                          attr(axes), Value(),
                                          builder.getStringAttr(payload))
                   .getResult();
  return gathered;
}

//===----------------------------------------------------------------------===//
// Boundary
//===----------------------------------------------------------------------===//

// The sum of `op` with a shared expert, when both are there for this sum alone.
static std::pair<arith::AddFOp, SharedExpertOp> sumWithShared(ExpertsOp op) {
  Value result = op.getResult();
  if (!result.hasOneUse())
    return {};
  auto sum = dyn_cast<arith::AddFOp>(*result.user_begin());
  if (!sum)
    return {};
  auto shared = (sum.getLhs() == result ? sum.getRhs() : sum.getLhs())
                    .getDefiningOp<SharedExpertOp>();
  return shared && shared.getResult().hasOneUse()
             ? std::pair(sum, shared)
             : std::pair<arith::AddFOp, SharedExpertOp>();
}

// Whether tokens may stay where neighbours hold them as well, instead of being
// shared out: every rank then routes all of them, which costs less than to
// gather what was never apart. Every layer must add its partial sums up over
// all who hold the same tokens, and no shared expert may be computed by each.
// Only where the placement says how attention lies.
bool LayerSharder::mayKeepReplicas() {
  unsigned shared = 0, summed = 0;
  WalkResult walk = function.walk([&](Operation *op) {
    shared += isa<SharedExpertOp>(op);
    auto experts = dyn_cast<ExpertsOp>(op);
    if (!experts)
      return WalkResult::advance();
    Axes axes = replicaAxes(experts.getPlacementAttr());
    bool sumsUp = llvm::all_of(sameTokens, [&](int64_t axis) {
      return sizeOf({axis}) == 1 || llvm::is_contained(axes, axis);
    });
    summed += sumsTogether(experts, sumWithShared(experts).second);
    return experts.getPlacementAttr().getDispatcher() ==
                       Dispatcher::AllGather &&
                   sumsUp
               ? WalkResult::advance()
               : WalkResult::interrupt();
  });
  return attentionSaysSo && !walk.wasInterrupted() && shared == summed &&
         sizeOf(sameTokens) > 1;
}

// Inputs: the rank's share of each, given as such or cut out of what its
// neighbours hold as well.
void LayerSharder::enter(const TokenRows &rows) {
  builder.setInsertionPointToStart(&function.getBody().front());
  Axes splitAxes = allAxes;
  llvm::erase_if(splitAxes, [&](int64_t axis) {
    return llvm::is_contained(sameTokens, axis);
  });
  DenseI64ArrayAttr split = attr(splitAxes);
  for (BlockArgument argument : function.getArguments()) {
    if (!rows.contains(argument))
      continue;
    function.setArgAttr(argument.getArgNumber(), "moe.split", split);
    Value mine = argument;
    if (sizeOf(sameTokens) > 1 && !keepsReplicas) {
      auto share = coll::ShareOp::create(builder, argument.getType(), argument,
                                         gridName, attr(sameTokens), Value());
      mine = share.getResult();
      argument.replaceAllUsesExcept(mine, share);
    }
    if (!tokens)
      tokens = tensor::DimOp::create(builder, mine, 0);
  }
  for (unsigned result = 0; result < function.getNumResults(); ++result)
    function.setResultAttr(result, "moe.split", split);
}

// Results of a replicated boundary: the rows of all who hold the same tokens.
void LayerSharder::leave() {
  if (sizeOf(sameTokens) == 1 || keepsReplicas)
    return;
  Operation *terminator = function.getBody().front().getTerminator();
  builder.setInsertionPoint(terminator);
  for (OpOperand &result : terminator->getOpOperands()) {
    auto name = function.getResultAttrOfType<StringAttr>(
        result.getOperandNumber(), "moe.name");
    StringRef payload = !name                                 ? "rows"
                        : name.getValue() == "expert_ids"     ? "ids"
                        : name.getValue() == "expert_weights" ? "weights"
                                                              : "rows";
    result.set(gatherTokens(result.get(), sameTokens, payload));
  }
}

//===----------------------------------------------------------------------===//
// Layers
//===----------------------------------------------------------------------===//

// `op`, and the shared expert that is added to it, stand for `sum`, the last
// operation of the layer.
void LayerSharder::rewrite(ExpertsOp op, SharedExpertOp shared,
                           Operation *sum) {
  builder.setInsertionPoint(sum);
  builder.setLoc(op.getLoc());
  Value result = routed(op, shared);
  sum->getResult(0).replaceAllUsesWith(result);
  sum->erase();
  if (shared) {
    shared.erase();
    op.erase();
  }
}

void LayerSharder::rewrite(SharedExpertOp op) {
  builder.setInsertionPoint(op);
  builder.setLoc(op.getLoc());
  Addend result = sharedExpert(op);
  if (result.gate) // gate[t] * row t: a sum of one row per token
    result.value =
        CombineOp::create(builder, op.getResult().getType(), result.value,
                          /*positions=*/Value(), /*weights=*/result.gate,
                          /*addend=*/Value(),
                          /*addend_gate=*/Value(), /*outs=*/Value())
            .getResult();
  op.getResult().replaceAllUsesWith(result.value);
  op.erase();
}

void LayerSharder::run(const TokenRows &rows) {
  keepsReplicas = mayKeepReplicas();
  enter(rows);
  // In program order of each layer's last operation: what is gathered once is
  // then defined before it is used again.
  llvm::DenseMap<Operation *, std::pair<ExpertsOp, SharedExpertOp>> sums;
  SmallVector<Operation *> layers;
  for (Operation &op : function.getBody().front()) {
    if (auto experts = dyn_cast<ExpertsOp>(op)) {
      auto [sum, shared] = sumWithShared(experts);
      sums[sum ? sum.getOperation() : &op] = {experts, shared};
    }
    if (isa<ExpertsOp, SharedExpertOp, arith::AddFOp>(op))
      layers.push_back(&op);
  }
  llvm::DenseSet<Operation *> taken;
  for (auto &[sum, layer] : sums)
    if (layer.second) {
      taken.insert(layer.first);
      taken.insert(layer.second);
    }
  for (Operation *op : layers) {
    if (taken.contains(op))
      continue;
    if (auto layer = sums.find(op); layer != sums.end())
      rewrite(layer->second.first, layer->second.second, op);
    else if (auto shared = dyn_cast<SharedExpertOp>(op))
      rewrite(shared);
  }
  leave();
}

namespace {

struct ShardLayerPass : moe::impl::ShardLayerPassBase<ShardLayerPass> {
  void runOnOperation() override {
    for (func::FuncOp function : getOperation().getOps<func::FuncOp>())
      if (failed(shard(function)))
        return signalPassFailure();
  }

private:
  LogicalResult shard(func::FuncOp function) {
    if (failed(checkPlacedFunction(function)))
      return failure();
    FailureOr<TokenRows> rows = TokenRows::compute(function);
    if (failed(rows))
      return failure();
    Operation *layer = nullptr;
    function.walk([&](Operation *op) { layer = placementOf(op) ? op : layer; });
    PlacementAttr placement = placementOf(layer);
    shard::GridOp grid = coll::lookupGrid(layer, placement.getGrid());
    WeightPlanner weights(function, grid);
    if (failed(weights.plan()))
      return failure();
    weights.apply();
    LayerSharder(function, grid, placement).run(*rows);
    return success();
  }
};

} // namespace
