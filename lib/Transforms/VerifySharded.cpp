// Exit check of phase `sharded`: one rank's program, its inputs and results
// with their split, its weights with their slices. That the ranks agree on the
// collectives is moe-verify-collectives' matter.
#include "dialects/Coll/CollDialect.h"
#include "dialects/Forms/GridSize.h"
#include "dialects/Moe/MoeDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "moe/Transforms/Passes.h"

namespace moe {
#define GEN_PASS_DEF_VERIFYSHARDEDPASS
#include "moe/Transforms/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

static InFlightDiagnostic errorAt(func::FuncOp function, StringRef what,
                                  unsigned index) {
  return mlir::emitError(function.getLoc())
         << what << " " << index << " of `" << function.getSymName() << "` ";
}

// Axes of a split, of the module's one grid.
static LogicalResult verifySplit(func::FuncOp function, StringRef what,
                                 unsigned index, Attribute attribute,
                                 shard::GridOp grid) {
  auto split = dyn_cast_or_null<DenseI64ArrayAttr>(attribute);
  if (!split)
    return errorAt(function, what, index)
           << "has no `moe.split`, but tokens with a split, or an empty one "
              "where they are replicated, are expected";
  for (int64_t axis : split.asArrayRef())
    if (axis < 0 || axis >= grid.getRank())
      return errorAt(function, what, index)
             << "is split over axis " << axis << ", but the grid `"
             << grid.getSymName() << "` has axes 0 to " << grid.getRank() - 1;
  return success();
}

// A weight's local type is what its slice says.
static LogicalResult verifySlice(func::FuncOp function, unsigned index,
                                 RankedTensorType type, SliceAttr slice,
                                 shard::GridOp grid) {
  if (!slice)
    return errorAt(function, "argument", index)
           << "has no `moe.slice`, but a weight with the slice that a rank "
              "holds is expected";
  if (slice.getGrid().getValue() != grid.getSymName())
    return errorAt(function, "argument", index)
           << "is a slice over the grid `" << slice.getGrid().getValue()
           << "`, but `" << grid.getSymName() << "` is expected";
  SmallVector<int64_t> shape(slice.getShape().asArrayRef());
  for (auto split : slice.getSplits().getAsRange<SplitAttr>()) {
    for (int64_t axis : split.getAxes().asArrayRef())
      if (axis >= grid.getRank())
        return errorAt(function, "argument", index)
               << "is cut over axis " << axis << ", but the grid has axes 0 to "
               << grid.getRank() - 1;
    int64_t parts = coll::groupSize(grid, split.getAxes()),
            &size = shape[split.getDim()];
    size = split.getBy() == SplitKind::Slots ? slice.getSlots().size() : size;
    if (size % parts != 0)
      return errorAt(function, "argument", index)
             << "has " << size << " in dimension " << split.getDim()
             << ", which " << parts
             << " ranks do not divide; nearest legal choice: "
             << std::max<int64_t>((size + parts / 2) / parts, 1) * parts;
    size /= parts;
  }
  if (!llvm::equal(type.getShape(), shape))
    return errorAt(function, "argument", index)
           << "is " << type << ", but its slice has the shape "
           << RankedTensorType::get(shape, type.getElementType());
  return success();
}

static LogicalResult verifyInterface(func::FuncOp function,
                                     shard::GridOp grid) {
  for (auto [index, argument] : llvm::enumerate(function.getArgumentTypes())) {
    auto type = dyn_cast<RankedTensorType>(argument);
    if (!type || type.getRank() == 0)
      return errorAt(function, "argument", index)
             << "is " << argument << ", but a tensor with rows is expected";
    Attribute slice = function.getArgAttr(index, "moe.slice"),
              split = function.getArgAttr(index, "moe.split");
    bool isTokens = type.isDynamicDim(0);
    if (split && slice)
      return errorAt(function, "argument", index)
             << "has `moe.split` and `moe.slice`, but one of them is expected";
    if (failed(isTokens
                   ? verifySplit(function, "argument", index, split, grid)
                   : verifySlice(function, index, type,
                                 dyn_cast_or_null<SliceAttr>(slice), grid)))
      return failure();
  }
  for (unsigned index = 0; index < function.getNumResults(); ++index)
    if (failed(verifySplit(function, "result", index,
                           function.getResultAttr(index, "moe.split"), grid)))
      return failure();
  return success();
}

// Nothing of the levels above remains.
static LogicalResult verifyLevel(ModuleOp module) {
  WalkResult walk = module.walk([](Operation *op) {
    bool logical = isa<ExpertsOp, SharedExpertOp>(op);
    bool upstream = isa_and_nonnull<shard::ShardDialect>(op->getDialect()) &&
                    !isa<shard::GridOp>(op);
    if (!logical && !upstream)
      return WalkResult::advance();
    op->emitOpError(
        logical
            ? "remains in one rank's program, but `moe-shard-layer` expands it"
            : "remains in one rank's program, but collectives of `coll` are "
              "expected");
    return WalkResult::interrupt();
  });
  return failure(walk.wasInterrupted());
}

namespace {
struct VerifyShardedPass : moe::impl::VerifyShardedPassBase<VerifyShardedPass> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto grids = llvm::to_vector(module.getOps<shard::GridOp>());
    if (grids.size() != 1) {
      mlir::emitError(module.getLoc())
          << "the module has " << grids.size()
          << " grids, but one `shard.grid` with all ranks is expected";
      return signalPassFailure();
    }
    shard::GridOp grid = grids.front();
    if (failed(verifyGridSize(grid, grid)))
      return signalPassFailure();
    if (llvm::any_of(grid.getShape(), ShapedType::isDynamic)) {
      grid.emitOpError("has a size that is not known, but a static shape is "
                       "expected");
      return signalPassFailure();
    }
    if (failed(verifyLevel(module)))
      return signalPassFailure();
    for (func::FuncOp function : module.getOps<func::FuncOp>())
      if (failed(verifyInterface(function, grid)))
        return signalPassFailure();
    module->setAttr("moe.phase", StringAttr::get(&getContext(), "sharded"));
  }
};
} // namespace
