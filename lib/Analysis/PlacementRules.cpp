#include "moe/Analysis/PlacementRules.h"
#include "dialects/Forms/GridSize.h"
#include "moe/Analysis/MeshLayout.h"
#include "llvm/ADT/StringExtras.h"
#include <set>

using namespace mlir;
using namespace moe;

static ShapedType shapeOf(Value value) {
  return cast<ShapedType>(value.getType());
}

ExpertSizes moe::expertSizes(ExpertsOp op) {
  ShapedType up = shapeOf(op.getUp());
  return {up.getDimSize(0), shapeOf(op.getIds()).getDimSize(1),
          up.getDimSize(2), up.getDimSize(3)};
}

int64_t moe::sharedWidth(SharedExpertOp op) {
  return shapeOf(op.getUp()).getDimSize(1);
}

PlacementAttr moe::placementOf(Operation *op) {
  if (auto experts = dyn_cast<ExpertsOp>(op))
    return experts.getPlacementAttr();
  if (auto shared = dyn_cast<SharedExpertOp>(op))
    return shared.getPlacementAttr();
  return {};
}

static LogicalResult checkStatic(Operation *op, StringRef name, Value weight) {
  if (weight && !shapeOf(weight).hasStaticShape())
    return op->emitOpError()
           << "has `" << name << "` of type " << weight.getType()
           << ", but a static shape is expected";
  return success();
}

// Elements of I that share a scale and must stay on one rank.
static int64_t widthBlock(WeightFormat format) {
  switch (format) {
  case WeightFormat::Plain:
    return 1;
  case WeightFormat::Fp8Block:
    return fp8BlockSize;
  case WeightFormat::Mxfp4:
    return mxfp4BlockSize;
  }
  llvm_unreachable("unknown weight format");
}

// Words for every legal ep x etp on these ranks, without replicas.
static std::string legalSplits(const ExpertSizes &sizes, int64_t ranks,
                               int64_t block) {
  SmallVector<std::string> splits;
  for (int64_t etp = 1; etp <= ranks; ++etp)
    if (ranks % etp == 0 && sizes.width % etp == 0 &&
        (etp == 1 || sizes.width / etp % block == 0) &&
        ranks / etp <= sizes.experts)
      splits.push_back("ep=" + std::to_string(ranks / etp) +
                       " etp=" + std::to_string(etp));
  return splits.empty() ? "none" : llvm::join(splits, ", ");
}

LogicalResult moe::checkExperts(ExpertsOp op, const Layout &layout) {
  if (failed(checkStatic(op, "up", op.getUp())) ||
      failed(checkStatic(op, "down", op.getDown())))
    return failure();
  ExpertSizes sizes = expertSizes(op);
  int64_t ep = layout.ep, etp = layout.etp, groups = layout.ranks / etp;
  if (ep > sizes.experts)
    return op.emitOpError()
           << "has E = " << sizes.experts << " experts, but ep=" << ep
           << " needs at least one for each; nearest legal choice: "
           << nearestChoices("ep", ep, std::min(groups, sizes.experts),
                             [&](int64_t n) { return groups % n == 0; });
  if (sizes.width % etp != 0)
    return op.emitOpError()
           << "has experts of width I = " << sizes.width
           << ", which etp=" << etp
           << " does not divide; nearest legal choice on " << layout.ranks
           << " ranks: "
           << nearestChoices("etp", etp, layout.ranks, [&](int64_t n) {
                return sizes.width % n == 0 && layout.ranks % n == 0;
              });
  int64_t block = widthBlock(op.getWeightFormat());
  if (etp > 1 && sizes.width / etp % block != 0)
    return op.emitOpError()
           << "has weights in format "
           << stringifyWeightFormat(op.getWeightFormat()) << ", and etp=" << etp
           << " leaves I = " << sizes.width << " / " << etp << " = "
           << sizes.width / etp << ", which is no multiple of the block's "
           << block << "; legal choices on " << layout.ranks
           << " ranks: " << legalSplits(sizes, layout.ranks, block);
  return success();
}

LogicalResult moe::checkSharedExpert(SharedExpertOp op, const Layout &layout) {
  if (failed(checkStatic(op, "up", op.getUp())) ||
      failed(checkStatic(op, "down", op.getDown())))
    return failure();
  int64_t width = sharedWidth(op);
  if (layout.shared == SharedLayout::Split && width % layout.ranks != 0)
    return op.emitOpError()
           << "has width S = " << width << ", which ranks=" << layout.ranks
           << " does not divide, but shared=split cuts it over all ranks; "
              "nearest legal choice: shared=replicated";
  int64_t block = widthBlock(op.getWeightFormat());
  if (layout.shared == SharedLayout::Split && layout.ranks > 1 &&
      width / layout.ranks % block != 0)
    return op.emitOpError()
           << "has weights in format "
           << stringifyWeightFormat(op.getWeightFormat())
           << ", and shared=split leaves S = " << width << " / " << layout.ranks
           << " = " << width / layout.ranks
           << ", which is no multiple of the block's " << block
           << "; nearest legal choice: shared=replicated";
  return success();
}

// Axes of a placement are the grid's, each once, in ascending order within a
// role.
static LogicalResult checkAxes(Operation *op, PlacementAttr placement,
                               shard::GridOp grid) {
  SmallVector<int64_t> all;
  for (DenseI64ArrayAttr role :
       {placement.getEp(), placement.getEtp(), placement.getEdp()}) {
    if (!llvm::is_sorted(role.asArrayRef()))
      return op->emitOpError()
             << "has a placement with axes [" << role.asArrayRef()
             << "], but ascending axes are expected";
    llvm::append_range(all, role.asArrayRef());
  }
  llvm::sort(all);
  if (!llvm::equal(all, llvm::seq<int64_t>(0, grid.getRank()))) {
    InFlightDiagnostic diag =
        op->emitOpError()
        << "has a placement over axes [" << all
        << "], but ep, etp and edp together are expected to be axes 0 to "
        << grid.getRank() - 1 << " of `" << grid.getSymName() << "`, each once";
    diag.attachNote(grid.getLoc()) << "the grid is declared here";
    return diag;
  }
  for (int64_t size : grid.getShape())
    if (ShapedType::isDynamic(size) || size < 1)
      return op->emitOpError()
             << "is placed on the grid `" << grid.getSymName()
             << "`, whose size is not known, but a static shape is expected";
  return verifyGridSize(op, grid);
}

// two_level: the axis that ends a node is one of ep, and several nodes hold ep.
static LogicalResult checkNodes(Operation *op, PlacementAttr placement,
                                shard::GridOp grid) {
  if (placement.getDispatcher() != Dispatcher::TwoLevel)
    return success();
  int64_t nodes = 0;
  SmallVector<int64_t> walked;
  for (int64_t axis : placement.getEp().asArrayRef()) {
    walked.push_back(axis);
    if (coll::axisName(grid, axis) == kNodeAxis)
      nodes = coll::groupSize(grid, walked);
  }
  if (nodes > 1)
    return success();
  InFlightDiagnostic diag =
      op->emitOpError()
      << "has a placement with dispatcher = two_level, but ep "
      << (nodes == 0 ? "has no axis called `node`" : "lies on one node")
      << "; name one in `coll.axes`, or use dispatcher = all_to_all";
  diag.attachNote(grid.getLoc()) << "the grid is declared here";
  return diag;
}

// Ranks with the same tokens are neighbours, so that shares keep their order.
static LogicalResult checkReplicas(Operation *op, PlacementAttr placement,
                                   shard::GridOp grid) {
  DenseI64ArrayAttr axes = placement.getAttnTp();
  if (!axes)
    return success();
  int64_t first = grid.getRank() - axes.size();
  if (llvm::equal(axes.asArrayRef(),
                  llvm::seq<int64_t>(first, grid.getRank())) &&
      placement.getBoundary() == Boundary::Replicated)
    return success();
  return op->emitOpError()
         << "has a placement with attn_tp = [" << axes.asArrayRef() << "]"
         << (placement.getBoundary() == Boundary::Replicated
                 ? ", but the last axes of the grid are expected"
                 : " and boundary = split, but it says who holds the same "
                   "tokens at boundary = replicated");
}

LogicalResult moe::checkPlacement(Operation *op) {
  PlacementAttr placement = placementOf(op);
  if (!placement)
    return op->emitOpError(
        "has no placement, but one is expected; `moe-place-experts` pins it");
  shard::GridOp grid = coll::lookupGrid(op, placement.getGrid());
  if (!grid)
    return op->emitOpError()
           << "is placed on the grid `" << placement.getGrid().getValue()
           << "`, but there is no `shard.grid` of that name";
  if (failed(checkAxes(op, placement, grid)))
    return failure();
  if (failed(checkNodes(op, placement, grid)) ||
      failed(checkReplicas(op, placement, grid)))
    return failure();
  Layout layout{ShapedType::getNumElements(grid.getShape()),
                coll::groupSize(grid, placement.getEp()),
                coll::groupSize(grid, placement.getEtp()),
                placement.getShared()};
  if (auto shared = dyn_cast<SharedExpertOp>(op))
    return checkSharedExpert(shared, layout);
  int64_t slots = placement.getSlots().size();
  if (slots == 0 || slots % layout.ep != 0)
    return op->emitOpError() << "has a placement with " << slots
                             << " slots, but the same number for each of "
                             << layout.ep << " ranks is expected";
  return checkExperts(cast<ExpertsOp>(op), layout);
}

LogicalResult moe::checkPlacedFunction(func::FuncOp function) {
  Operation *first = nullptr;
  WalkResult walk = function.walk([&](Operation *op) {
    if (!isa<ExpertsOp, SharedExpertOp>(op))
      return WalkResult::advance();
    if (failed(checkPlacement(op)))
      return WalkResult::interrupt();
    if (!first) {
      first = op;
      return WalkResult::advance();
    }
    PlacementAttr one = placementOf(first), other = placementOf(op);
    if (one.getGrid() == other.getGrid() &&
        one.getBoundary() == other.getBoundary() &&
        one.getAttnTp() == other.getAttnTp())
      return WalkResult::advance();
    InFlightDiagnostic diag =
        op->emitOpError("has another grid or boundary than a layer before it, "
                        "but one for the whole function is expected");
    diag.attachNote(first->getLoc()) << "the other layer is here";
    return WalkResult::interrupt();
  });
  if (walk.wasInterrupted())
    return failure();
  if (!first)
    return mlir::emitError(function.getLoc())
           << "`" << function.getSymName()
           << "` has no moe.experts and no moe.shared_expert, but a layer to "
              "place is expected in every function";
  return success();
}

int64_t moe::mostMembersPerToken(ExpertsOp op, DenseI32ArrayAttr slots,
                                 int64_t members) {
  ExpertSizes sizes = expertSizes(op);
  int64_t most = std::min(sizes.topK, members);
  auto route = op.getIds().getDefiningOp<RouteOp>();
  if (!route || route.getRouter().getNGroup() == 1)
    return most;
  int64_t perGroup = sizes.experts / route.getRouter().getNGroup(),
          perMember = slots.size() / members;
  SmallVector<std::set<int64_t>> touched(route.getRouter().getNGroup());
  for (auto [slot, expert] : llvm::enumerate(slots.asArrayRef()))
    if (expert >= 0)
      touched[expert / perGroup].insert(slot / perMember);
  SmallVector<int64_t> counts;
  for (const std::set<int64_t> &group : touched)
    counts.push_back(group.size());
  llvm::sort(counts, std::greater<int64_t>());
  int64_t kept = 0;
  for (int64_t count :
       ArrayRef(counts).take_front(route.getRouter().getTopkGroup()))
    kept += count;
  return std::min(most, kept);
}
