// Pins the layout that `--place` names: one grid for the module, one placement
// on every layer.
//
// All layers are checked before anything is changed, so a refused module stays
// as it was.
#include "moe/Analysis/MeshLayout.h"
#include "moe/Analysis/PlacementRules.h"
#include "moe/Analysis/PlacementSearch.h"
#include "moe/Transforms/Passes.h"
#include "moe/Transforms/PlacementPin.h"
#include "llvm/ADT/StringMap.h"

namespace moe {
#define GEN_PASS_DEF_PLACEEXPERTSPASS
#include "moe/Transforms/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

static constexpr llvm::StringLiteral kGrid = "ranks";

// Slot s holds expert s; what is left of the last slots is empty.
static DenseI32ArrayAttr identitySlots(MLIRContext *context, int64_t experts,
                                       int64_t ep) {
  SmallVector<int32_t> slots(llvm::divideCeil(experts, ep) * ep, -1);
  for (int64_t expert = 0; expert < experts; ++expert)
    slots[expert] = expert;
  return DenseI32ArrayAttr::get(context, slots);
}

static int64_t nodesPerReplica(const PlacementWords &words) {
  return words.ep * words.etp * words.nodes / words.ranks;
}

static std::string describe(Operation *layer, const PlacementWords &words) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  if (auto experts = dyn_cast<ExpertsOp>(layer)) {
    int64_t count = expertSizes(experts).experts,
            perRank = llvm::divideCeil(count, words.ep);
    stream << count << " experts of width " << expertSizes(experts).width
           << " over ranks=" << words.ranks << " as ep=" << words.ep
           << " x etp=" << words.etp << " x edp=" << words.edp << ": "
           << perRank << " slots per rank";
    if (perRank * words.ep != count)
      stream << " (" << perRank * words.ep - count << " of "
             << perRank * words.ep << " empty)";
    stream << ", dispatcher=" << stringifyDispatcher(words.dispatcher)
           << (words.dedup ? " dedup=true" : "");
    if (words.dispatcher == Dispatcher::TwoLevel)
      stream << " (a token goes to at most "
             << mostMembersPerToken(
                    experts,
                    identitySlots(layer->getContext(), count, words.ep),
                    nodesPerReplica(words))
             << " of " << nodesPerReplica(words) << " nodes)";
    stream << ", boundary=" << stringifyBoundary(words.boundary);
  } else {
    stream << "shared expert of width "
           << sharedWidth(cast<SharedExpertOp>(layer)) << ": "
           << stringifySharedLayout(words.shared)
           << " over ranks=" << words.ranks;
  }
  return text;
}

LogicalResult moe::pinPlacement(ModuleOp module, ArrayRef<Operation *> layers,
                                const PlacementWords &words) {
  FailureOr<MeshLayout> mesh = MeshLayout::of(
      words, [&] { return mlir::emitError(module.getLoc(), "--place: "); });
  if (failed(mesh))
    return failure();
  MLIRContext *context = module.getContext();
  OpBuilder builder = OpBuilder::atBlockBegin(module.getBody());
  auto grid =
      shard::GridOp::create(builder, module.getLoc(), kGrid, mesh->shape);
  grid->setAttr("coll.axes", builder.getStrArrayAttr(SmallVector<StringRef>(
                                 mesh->names.begin(), mesh->names.end())));
  auto axes = [&](ArrayRef<int64_t> numbers) {
    return builder.getDenseI64ArrayAttr(numbers);
  };
  for (Operation *layer : layers) {
    auto experts = dyn_cast<ExpertsOp>(layer);
    auto placement = PlacementAttr::get(
        context, FlatSymbolRefAttr::get(grid), axes(mesh->ep), axes(mesh->etp),
        axes(mesh->edp),
        experts ? identitySlots(context, expertSizes(experts).experts, words.ep)
                : DenseI32ArrayAttr::get(context, {}),
        words.dispatcher, words.dedup, words.boundary, words.shared,
        mesh->attnTp.empty() ? DenseI64ArrayAttr() : axes(mesh->attnTp));
    if (experts)
      experts.setPlacementAttr(placement);
    else
      cast<SharedExpertOp>(layer).setPlacementAttr(placement);
  }
  return success();
}

static SmallVector<Operation *> layersOf(ModuleOp module) {
  SmallVector<Operation *> layers;
  module.walk([&](Operation *op) {
    if (isa<ExpertsOp, SharedExpertOp>(op))
      layers.push_back(op);
  });
  return layers;
}

FailureOr<SmallVector<Operation *>> moe::layersToPlace(ModuleOp module) {
  SmallVector<Operation *> layers = layersOf(module);
  if (layers.empty())
    return mlir::emitError(module.getLoc(),
                           "the module has no moe.experts and no "
                           "moe.shared_expert, but a layer to place is "
                           "expected");
  for (Operation *layer : layers)
    if (placementOf(layer))
      return layer->emitOpError("has a placement already, but --place pins "
                                "one too; leave out one of them");
  if (Operation *other = module.lookupSymbol(kGrid)) {
    InFlightDiagnostic diag = mlir::emitError(module.getLoc())
                              << "the symbol `" << kGrid
                              << "` is taken, but --place declares a grid of "
                                 "that name";
    diag.attachNote(other->getLoc()) << "it is defined here";
    return diag;
  }
  return layers;
}

namespace {

struct PlaceExpertsPass : moe::impl::PlaceExpertsPassBase<PlaceExpertsPass> {
  using PlaceExpertsPassBase::PlaceExpertsPassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    SmallVector<Operation *> placed = layersOf(module);
    if (!placed.empty() && place.empty()) {
      if (llvm::all_of(placed, placementOf))
        return;
      mlir::emitError(
          module.getLoc(),
          "--place is missing, and not every layer has a placement; give words "
          "such as --place=\"ranks=8 ep=8\"");
      return signalPassFailure();
    }
    FailureOr<SmallVector<Operation *>> layers = layersToPlace(module);
    if (failed(layers))
      return signalPassFailure();
    if (asksForPlan(place)) {
      mlir::emitError(module.getLoc())
          << "--place: `machine` asks for a plan, which --compile-to makes, "
             "but "
             "this pass pins: words such as ranks=8 ep=8 are expected";
      return signalPassFailure();
    }
    FailureOr<PlacementWords> words = parsePlacementWords(
        place, [&] { return mlir::emitError(module.getLoc(), "--place: "); });
    if (failed(words) || failed(checkLayers(*layers, *words)) ||
        failed(pin(*layers, *words)))
      return signalPassFailure();
    if (!planned)
      remarkPinned(*layers, *words);
  }

private:
  LogicalResult checkLayers(ArrayRef<Operation *> layers,
                            const PlacementWords &words) {
    Layout layout{words.ranks, words.ep, words.etp, words.shared};
    for (Operation *layer : layers) {
      auto experts = dyn_cast<ExpertsOp>(layer);
      if (failed(experts
                     ? checkExperts(experts, layout)
                     : checkSharedExpert(cast<SharedExpertOp>(layer), layout)))
        return failure();
    }
    if (words.shared == SharedLayout::Split &&
        llvm::none_of(layers, llvm::IsaPred<SharedExpertOp>))
      return mlir::emitError(getOperation().getLoc(),
                             "--place: `shared=split` is given, but no layer "
                             "has a shared expert; leave it out");
    return success();
  }

  LogicalResult pin(ArrayRef<Operation *> layers, const PlacementWords &words) {
    ModuleOp module = getOperation();
    if (failed(pinPlacement(module, layers, words)))
      return failure();
    auto old = module->getAttrOfType<DictionaryAttr>("moe.options");
    NamedAttrList options(old);
    MLIRContext *context = &getContext();
    Builder builder(context);
    options.set("place", builder.getStringAttr(words.spell()));
    module->setAttr("moe.options", options.getDictionary(context));
    return success();
  }

  // One remark for layers that are alike: a model has many.
  void remarkPinned(ArrayRef<Operation *> layers, const PlacementWords &words) {
    llvm::StringMap<unsigned> alike;
    for (Operation *layer : layers)
      ++alike[describe(layer, words)];
    for (Operation *layer : layers) {
      std::string text = describe(layer, words);
      unsigned &count = alike[text];
      if (count == 0)
        continue;
      InFlightDiagnostic diag = mlir::emitRemark(layer->getLoc())
                                << "pinned by --place: " << text;
      if (count > 1)
        diag << " (and " << count - 1 << " more alike)";
      count = 0;
    }
    if (words.dedup && words.dispatcher == Dispatcher::AllGather)
      mlir::emitRemark(getOperation().getLoc(),
                       "dedup=true changes nothing with "
                       "dispatcher=all_gather: each token travels once anyway");
    mlir::emitRemark(getOperation().getLoc(),
                     "no `machine` is given, so memory is not checked");
  }
};

} // namespace
