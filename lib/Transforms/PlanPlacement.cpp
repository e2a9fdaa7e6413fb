// Searches a layout for the layers of a module. Each candidate's program is
// made by the passes that make the program that runs, on a clone in which
// layers that are alike stand once.
#include "PlacementPin.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "moe/Analysis/PlacementRules.h"
#include "moe/Report/PlanReport.h"
#include "moe/Transforms/Passes.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/ToolOutputFile.h"

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
  }
  return text;
}

// Block formats are priced by bytes and rates; their scales are left out.
static void makePlain(ExpertsOp op) {
  op.setWeightFormat(WeightFormat::Plain);
  op.getUpScalesMutable().clear();
  op.getDownScalesMutable().clear();
  Type result = cast<ShapedType>(op.getResult().getType()).getElementType();
  for (Value weight : {op.getUp(), op.getDown()})
    weight.setType(cast<RankedTensorType>(weight.getType()).clone(result));
}

static OwningOpRef<ModuleOp> reduced(ModuleOp module) {
  OwningOpRef<ModuleOp> clone(module.clone());
  llvm::StringSet<> seen;
  for (func::FuncOp function :
       llvm::make_early_inc_range(clone->getOps<func::FuncOp>())) {
    bool hasExperts = false;
    function.walk([&](ExpertsOp) { hasExperts = true; });
    if (!hasExperts || !seen.insert(signatureOf(function)).second) {
      function.erase();
      continue;
    }
    function.walk([](ExpertsOp op) {
      if (op.getWeightFormat() != WeightFormat::Plain)
        makePlain(op);
    });
    function.setType(FunctionType::get(function.getContext(),
                                       function.getBody().getArgumentTypes(),
                                       function.getResultTypes()));
  }
  return clone;
}

static OwningOpRef<ModuleOp> shardedProgram(ModuleOp layers,
                                            const PlacementWords &words) {
  OwningOpRef<ModuleOp> program(layers.clone());
  SmallVector<Operation *> ops;
  program->walk([&](Operation *op) {
    if (isa<ExpertsOp, SharedExpertOp>(op))
      ops.push_back(op);
  });
  if (failed(pinPlacement(*program, ops, words)))
    return nullptr;
  for (Operation *op : ops) // the simulator asks for it when the layer is gone
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
  std::string twin = options.reportPath.str();
  if (options.reportPath.ends_with(".html")) {
    twin.replace(twin.size() - 4, 4, "json");
    if (failed(writeFile(module, options.reportPath, planHtml(plans))))
      return failure();
  } else if (!options.reportPath.ends_with(".json")) {
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
  return nearest ? nearest->layout() + ": " + nearest->reason
                 : "the words leave none";
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
  OwningOpRef<ModuleOp> layers = reduced(module);
  std::vector<Plan> plans;
  const Candidate *best = nullptr;
  for (const PlanRequest &request : *requests) {
    FailureOr<Plan> plan =
        searchPlacement(module, request, hasModel ? &config : nullptr,
                        [&](const PlacementWords &words) {
                          return shardedProgram(*layers, words);
                        });
    if (failed(plan))
      return failure();
    plans.push_back(std::move(*plan));
  }
  for (const Plan &plan : plans)
    if (const Candidate *winner = plan.winner();
        winner && (!best || winner->us < best->us))
      best = winner;
  if (failed(writeReport(module, plans, options)))
    return failure();
  if (!best) {
    emit() << "no layout is legal: " << nearestRefusal(plans);
    return failure();
  }
  mlir::emitRemark(module.getLoc()) << planText(plans);
  return best->words;
}
