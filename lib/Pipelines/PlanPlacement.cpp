// Searches a layout for the layers of a module. Each candidate's program is
// made by the passes that make the program that runs, on a clone in which
// layers that are alike stand once.
#include "PlanPlacement.h"
#include "dialects/Moert/MoertDialect.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "moe/Analysis/PlacementSearch.h"
#include "moe/Conversion/Passes.h"
#include "moe/Pipelines/Pipelines.h"
#include "moe/Report/PlanReport.h"
#include "moe/Transforms/Passes.h"
#include "moe/Transforms/PlacementPin.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace moe;

// What makes two layers equally expensive: their operations and types.
static std::string signatureOf(func::FuncOp function) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  stream << function.getFunctionType();
  for (Operation &op : function.getBody().front()) {
    stream << op.getName();
    if (auto experts = dyn_cast<ExpertsOp>(op))
      stream << experts.getWeightFormat();
    if (auto route = dyn_cast<RouteOp>(op))
      stream << route.getRouterAttr();
  }
  return text;
}

static OwningOpRef<ModuleOp> reduced(ModuleOp module) {
  OwningOpRef<ModuleOp> clone(module.clone());
  llvm::StringMap<func::FuncOp> first;
  Builder builder(module.getContext());
  for (func::FuncOp function :
       llvm::make_early_inc_range(clone->getOps<func::FuncOp>())) {
    int64_t layers = 0;
    function.walk([&](ExpertsOp) { ++layers; });
    if (layers == 0) {
      function.erase();
      continue;
    }
    auto [entry, isNew] = first.try_emplace(signatureOf(function), function);
    func::FuncOp kept = entry->second;
    int64_t copies = isNew ? 0 : copiesOf(kept);
    kept->setAttr(kCopies, builder.getI64IntegerAttr(copies + 1));
    if (!isNew)
      function.erase();
  }
  return clone;
}

namespace {

class Programs : public LayoutPrograms {
public:
  Programs(ModuleOp layers, const PlanOptions &options)
      : layers(layers), options(options) {}

  OwningOpRef<ModuleOp> shard(const PlacementWords &words) override;
  FailureOr<HeldBytes> schedule(ModuleOp sharded) override;
  FailureOr<HeldBytes> lower(ModuleOp sharded) override;
  bool hasTarget() const override { return !options.target.empty(); }

private:
  OwningOpRef<ModuleOp> scheduled(ModuleOp sharded);

  ModuleOp layers;
  const PlanOptions &options;
};

} // namespace

OwningOpRef<ModuleOp> Programs::shard(const PlacementWords &words) {
  OwningOpRef<ModuleOp> program(layers.clone());
  FailureOr<SmallVector<Operation *>> ops = layersToPlace(*program);
  if (failed(ops) || failed(pinPlacement(*program, *ops, words)))
    return nullptr;
  for (Operation *op : *ops) // the simulator asks for it when the layer is gone
    if (auto experts = dyn_cast<ExpertsOp>(op))
      op->getParentOfType<func::FuncOp>()->setAttr("moe.placement",
                                                   experts.getPlacementAttr());
  PassManager manager(program->getContext(), ModuleOp::getOperationName());
  manager.enableVerifier(false);
  manager.addPass(createShardLayerPass());
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
  if (failed(manager.run(*program)))
    return nullptr;
  return program;
}

// A source as long as no checkpoint says another.
static CheckpointAttr sourceOf(StringRef name, RankedTensorType type) {
  Builder builder(type.getContext());
  return CheckpointAttr::get(
      type.getContext(), builder.getStrArrayAttr(name),
      builder.getDenseI64ArrayAttr(type.getShape()),
      AffineMapAttr::get(builder.getMultiDimIdentityMap(type.getRank())),
      /*expert_dim=*/-1, /*part_dim=*/-1);
}

// What a caller or a checkpoint would name decides no size: a layer without
// names is measured as well.
static void nameEverything(func::FuncOp function) {
  Builder builder(function.getContext());
  for (BlockArgument argument : function.getArguments()) {
    unsigned index = argument.getArgNumber();
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    if (type && function.getArgAttr(index, "moe.slice") &&
        !function.getArgAttr(index, "moe.weight"))
      function.setArgAttr(index, "moe.weight",
                          sourceOf("weight" + std::to_string(index), type));
    else if (!function.getArgAttr(index, "moe.name"))
      function.setArgAttr(index, "moe.name",
                          builder.getStringAttr("in" + std::to_string(index)));
  }
  for (unsigned index = 0; index < function.getNumResults(); ++index)
    if (!function.getResultAttr(index, "moe.name"))
      function.setResultAttr(
          index, "moe.name",
          builder.getStringAttr("out" + std::to_string(index)));
}

OwningOpRef<ModuleOp> Programs::scheduled(ModuleOp sharded) {
  OwningOpRef<ModuleOp> program(sharded.clone());
  for (func::FuncOp function : program->getOps<func::FuncOp>())
    nameEverything(function);
  PassManager manager(program->getContext(), ModuleOp::getOperationName());
  manager.enableVerifier(false);
  buildScheduledPipeline(manager);
  if (failed(manager.run(*program)))
    return nullptr;
  return program;
}

// A session has the arena of one layer; of unlike layers the largest counts.
static void addArena(moert::InterfaceOp interface, HeldBytes &held) {
  constexpr int64_t kManyTokens = 1 << 20;
  moert::ArenaAttr arena = interface.getArena();
  TokenBytes bytes = {arena.getPerToken(), arena.getPerShare(),
                      arena.getConstant()};
  held.shares = arena.getShares();
  if (bytes.at(kManyTokens, held.shares) >
      held.arena.at(kManyTokens, held.shares))
    held.arena = bytes;
}

FailureOr<HeldBytes> Programs::schedule(ModuleOp sharded) {
  OwningOpRef<ModuleOp> program = scheduled(sharded);
  if (!program)
    return failure();
  HeldBytes held;
  for (auto interface : program->getOps<moert::InterfaceOp>())
    addArena(interface, held);
  return held;
}

// Bytes of a function's weights: they follow the inputs.
static double packedBytes(func::FuncOp function, moert::InterfaceOp interface) {
  double sum = 0;
  for (Type type : function.getArgumentTypes()
                       .drop_front(interface.getInputs().size())
                       .take_front(interface.getWeights().size())) {
    auto buffer = cast<MemRefType>(type);
    sum +=
        double(buffer.getNumElements()) * buffer.getElementTypeBitWidth() / 8;
  }
  return sum;
}

FailureOr<HeldBytes> Programs::lower(ModuleOp sharded) {
  OwningOpRef<ModuleOp> program = scheduled(sharded);
  if (!program)
    return failure();
  PassManager manager(program->getContext(), ModuleOp::getOperationName());
  manager.enableVerifier(false);
  if (options.target == "cuda") {
    addKernelPasses(manager, options.kernelTable);
  } else {
    PackWeightsPassOptions pack;
    pack.cpu = options.cpu.empty() ? "native" : options.cpu;
    manager.addPass(createPackWeightsPass(pack));
  }
  if (failed(manager.run(*program)))
    return failure();
  HeldBytes held;
  held.packed = 0;
  for (auto interface : program->getOps<moert::InterfaceOp>()) {
    addArena(interface, held);
    FailureOr<func::FuncOp> function = moert::lookupFunction(interface);
    if (failed(function))
      return failure();
    *held.packed += packedBytes(*function, interface) * copiesOf(*function);
  }
  return held;
}

static LogicalResult writeFile(ModuleOp module, StringRef path,
                               StringRef text) {
  llvm::Error error = llvm::writeToOutput(path, [&](llvm::raw_ostream &out) {
    out << text;
    return llvm::Error::success();
  });
  if (error)
    return mlir::emitError(module.getLoc())
           << "cannot write the report '" << path
           << "': " << llvm::toString(std::move(error));
  return success();
}

static LogicalResult writeReport(ModuleOp module, ArrayRef<Plan> plans,
                                 const PlanOptions &options) {
  if (options.reportPath.empty())
    return success();
  std::string twin = options.reportPath;
  if (StringRef(options.reportPath).ends_with(".html")) {
    twin.replace(twin.size() - 4, 4, "json");
    if (failed(writeFile(module, options.reportPath, planHtml(plans))))
      return failure();
  } else if (!StringRef(options.reportPath).ends_with(".json")) {
    return mlir::emitError(module.getLoc())
           << "--report is '" << options.reportPath
           << "', but a file that ends with .html or .json is expected";
  }
  return writeFile(
      module, twin,
      llvm::formatv("{0:2}\n", planJson(plans, options.listCandidates)).str());
}

// Why the layout that is nearest to legal is refused: the one that needs least
// memory, else the first.
static std::string nearestRefusal(ArrayRef<Plan> plans) {
  const Candidate *nearest = nullptr;
  for (const Plan &plan : plans)
    for (const Candidate &candidate : plan.candidates)
      if (!nearest || (candidate.us > 0 &&
                       (nearest->us == 0 ||
                        candidate.memory.total() < nearest->memory.total())))
        nearest = &candidate;
  return nearest
             ? nearest->layout() + ": " + nearest->reason
             : "dispatcher=two_level needs several nodes, each with several "
               "ranks of ep, which the words leave nowhere; nearest legal "
               "choice: dispatcher=all_to_all";
}

FailureOr<PlacementWords> moe::planPlacement(ModuleOp module,
                                             const PlanOptions &options) {
  auto emit = [&] { return mlir::emitError(module.getLoc(), "--place: "); };
  FailureOr<std::vector<PlanRequest>> requests =
      parsePlanRequests(options.place, emit);
  if (failed(requests))
    return failure();
  ModelConfig config;
  bool hasModel = !options.modelPath.empty();
  if (hasModel) {
    std::string error;
    FailureOr<ModelConfig> read = readModelConfig(options.modelPath, error);
    if (failed(read))
      return mlir::emitError(module.getLoc(), "--model-terms: ") << error;
    config = *read;
  }
  if (failed(layersToPlace(module)))
    return failure();
  OwningOpRef<ModuleOp> layers = reduced(module);
  Programs programs(*layers, options);
  std::vector<Plan> plans;
  for (const PlanRequest &request : *requests) {
    FailureOr<Plan> plan = searchPlacement(
        module, request, hasModel ? &config : nullptr, programs);
    if (failed(plan))
      return failure();
    plans.push_back(std::move(*plan));
  }
  const Candidate *best = chosen(plans);
  if (failed(writeReport(module, plans, options)))
    return failure();
  if (!best) {
    emit() << "no layout is legal: " << nearestRefusal(plans);
    return failure();
  }
  mlir::emitRemark(module.getLoc()) << planText(plans);
  return best->words;
}
