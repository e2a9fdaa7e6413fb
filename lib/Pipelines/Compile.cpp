// Leads a module from the phase that it has completed to another one.
#include "PlanPlacement.h"
#include "dialects/Moe/MoeDialect.h"
#include "dialects/Moert/MoertDialect.h"
#include "mlir/Pass/PassManager.h"
#include "moe/Analysis/CollectiveDigest.h"
#include "moe/Analysis/PlacementRules.h"
#include "moe/Analysis/PlacementSearch.h"
#include "moe/Pipelines/DeviceKernels.h"
#include "moe/Pipelines/Pipelines.h"
#include "moe/Pipelines/Registration.h"
#include "moe/Target/Artifact.h"
#include "moe/Target/CpuTarget.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace moe;

// The processor that host code of a device's program is made for.
static constexpr llvm::StringLiteral kHostOfDevices = "x86-64";

namespace {

// The phase of a module is known only when the module is: each step is a
// pipeline that is made and run here.
class CompilePass : public PassWrapper<CompilePass, OperationPass<ModuleOp>> {
public:
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(CompilePass)
  explicit CompilePass(const CompileOptions &options) : options(options) {}

  StringRef getArgument() const final { return "moe-compile"; }
  StringRef getDescription() const final {
    return "run the phases of a compilation";
  }
  void getDependentDialects(DialectRegistry &registry) const override {
    insertCompilerDialects(registry);
  }
  void runOnOperation() override {
    if (failed(compile(getOperation())))
      signalPassFailure();
  }

private:
  LogicalResult compile(ModuleOp module);
  LogicalResult mergeOptions(ModuleOp module, Phase done);
  LogicalResult mergeVariants(ModuleOp module, Phase done);
  LogicalResult step(ModuleOp module, Phase next);

  CompileOptions options;
};

} // namespace

static StringRef recorded(ModuleOp module, StringRef name) {
  if (auto all = module->getAttrOfType<DictionaryAttr>("moe.options"))
    if (auto value = all.getAs<StringAttr>(name))
      return value.getValue();
  return "";
}

static void record(ModuleOp module, StringRef name, StringRef value) {
  NamedAttrList all(module->getAttrOfType<DictionaryAttr>("moe.options"));
  all.set(name, StringAttr::get(module.getContext(), value));
  module->setAttr("moe.options", all.getDictionary(module.getContext()));
}

static bool isPlacedByHand(ModuleOp module) {
  WalkResult walk = module.walk([](Operation *op) {
    return placementOf(op) ? WalkResult::interrupt() : WalkResult::advance();
  });
  return walk.wasInterrupted();
}

// An option may be given where its step is still to come; afterwards only the
// value that is in force may be repeated.
LogicalResult CompilePass::mergeOptions(ModuleOp module, Phase done) {
  std::string target = options.target.empty() ? recorded(module, "target").str()
                                              : options.target;
  if (target.empty())
    target = "cpu";
  if (target != "cpu" && target != "cuda")
    return emitError(module.getLoc())
           << "--target is '" << target << "', but cpu or cuda is expected";
  if (done >= Phase::Placed && asksForPlan(options.place))
    return emitError(module.getLoc())
           << "--place asks for a plan, but the module is already placed by '"
           << recorded(module, "place") << "': start again from its input";
  if (done >= Phase::Lowered && target != recorded(module, "target"))
    return emitError(module.getLoc())
           << "--target is '" << target << "', but the module is already "
           << "lowered for '" << recorded(module, "target")
           << "': start again from its scheduled phase";
  if (!options.place.empty() && done >= Phase::Placed) {
    FailureOr<PlacementWords> words = parsePlacementWords(
        options.place, [&] { return emitError(module.getLoc()); });
    if (failed(words))
      return failure();
    if (words->spell() != recorded(module, "place"))
      return emitError(module.getLoc())
             << "--place is '" << options.place << "', but the module is "
             << "already placed by '" << recorded(module, "place")
             << "': start again from its input";
  }
  if (done < Phase::Placed && options.to >= Phase::Placed &&
      options.place.empty() && recorded(module, "place").empty() &&
      !isPlacedByHand(module))
    return emitError(module.getLoc(), "the module has no placement: say where "
                                      "its experts go with --place, at least "
                                      "--place=\"ranks=1\"");
  if (options.to < Phase::Lowered)
    return success();
  record(module, "target", target);
  if (target == "cuda") {
    if (!options.cpu.empty())
      return emitError(module.getLoc())
             << "--cpu is '" << options.cpu << "', but with --target=cuda host "
             << "code is for any x86-64: leave it out";
    record(module, "cpu", kHostOfDevices);
    if (failed(mergeVariants(module, done)))
      return failure();
    if (options.kernelTable.empty())
      return success();
    if (done >= Phase::Lowered &&
        options.kernelTable != recorded(module, "kernel-table"))
      return emitError(module.getLoc())
             << "--kernel-table is '" << options.kernelTable
             << "', but the module is already lowered: start again from its "
                "scheduled phase";
    record(module, "kernel-table", options.kernelTable);
    return success();
  }

  if (!options.variants.empty())
    return emitError(module.getLoc())
           << "--variants is '" << options.variants
           << "', but only --target=cuda has variants: leave it out";
  if (!options.kernelTable.empty())
    return emitError(module.getLoc())
           << "--kernel-table is '" << options.kernelTable
           << "', but only --target=cuda chooses kernels: leave it out";
  std::string cpu = recorded(module, "cpu").str(), error;
  if (!options.cpu.empty() || cpu.empty()) {
    FailureOr<CpuTarget> resolved = resolveCpuTarget(
        options.cpu.empty() ? StringRef("native") : StringRef(options.cpu),
        error);
    if (failed(resolved))
      return emitError(module.getLoc(), error);
    if (done >= Phase::Lowered && spellCpuTarget(*resolved) != cpu)
      return emitError(module.getLoc())
             << "--cpu is '" << options.cpu << "', but the module is already "
             << "lowered for '" << cpu << "': start again from its scheduled "
             << "phase";
    cpu = spellCpuTarget(*resolved);
  }
  if (failed(parseCpuTarget(cpu)))
    return emitError(module.getLoc())
           << "the module was compiled for the processor '" << cpu
           << "', which this compiler does not know";
  record(module, "cpu", cpu);
  return success();
}

LogicalResult CompilePass::mergeVariants(ModuleOp module, Phase done) {
  if (options.variants.empty())
    return success();
  if (options.variants != "all")
    return emitError(module.getLoc())
           << "--variants is '" << options.variants << "', but all is expected";
  if (done >= Phase::Lowered && recorded(module, "variants").empty())
    return emitError(module.getLoc(),
                     "--variants is 'all', but the module is already "
                     "lowered without variants: start again from its "
                     "scheduled phase");
  record(module, "variants", options.variants);
  return success();
}

static std::string printModule(ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module.print(stream, OpPrintingFlags().assumeVerified());
  return text;
}

static LogicalResult recordDigests(ModuleOp module) {
  for (auto interface : module.getOps<moert::InterfaceOp>()) {
    FailureOr<func::FuncOp> function = moert::lookupFunction(interface);
    if (failed(function))
      return failure();
    recordCollectives(interface, *function);
  }
  return success();
}

LogicalResult CompilePass::step(ModuleOp module, Phase next) {
  OpPassManager manager(ModuleOp::getOperationName());
  switch (next) {
  case Phase::Input:
    return success();
  case Phase::Placed: {
    std::string place =
        options.place.empty() ? recorded(module, "place").str() : options.place;
    bool plan = asksForPlan(place);
    if (plan) {
      auto orRecorded = [&](const std::string &given, StringRef name) {
        return given.empty() ? recorded(module, name).str() : given;
      };
      FailureOr<PlacementWords> words = planPlacement(
          module, {place, options.report, options.modelTerms, options.target,
                   orRecorded(options.cpu, "cpu"),
                   orRecorded(options.kernelTable, "kernel-table"),
                   options.listCandidates});
      if (failed(words))
        return failure();
      place = words->spell();
    }
    buildPlacedPipeline(manager, place, plan);
    break;
  }
  case Phase::Sharded:
    buildShardedPipeline(manager);
    break;
  case Phase::Scheduled:
    buildScheduledPipeline(manager);
    break;
  case Phase::Lowered: {
    // What the artifact keeps for later questions.
    module->setAttr("moe.scheduled",
                    StringAttr::get(module.getContext(), printModule(module)));
    if (recorded(module, "target") == "cuda") {
      std::optional<std::string> toolkit = findCudaToolkit();
      if (!toolkit)
        module.emitRemark("there is no ptxas in PATH, CUDA_HOME or where "
                          "scripts/install-deps puts one: kernels are kept as "
                          "PTX, which the driver compiles whenever the "
                          "artifact is opened");
      buildCudaLoweredPipeline(manager, toolkit,
                               recorded(module, "kernel-table"),
                               !recorded(module, "variants").empty());
      break;
    }
    FailureOr<CpuTarget> target = parseCpuTarget(recorded(module, "cpu"));
    buildLoweredPipeline(manager, *target);
    break;
  }
  case Phase::Artifact:
    return writeArtifact(module, options.artifactPath);
  }
  if (failed(runPipeline(manager, module)))
    return failure();
  if (next == Phase::Scheduled && failed(recordDigests(module)))
    return failure();
  module->setAttr("moe.phase",
                  StringAttr::get(module.getContext(), spellPhase(next)));
  return success();
}

LogicalResult CompilePass::compile(ModuleOp module) {
  Phase done = Phase::Input;
  if (auto name = module->getAttrOfType<StringAttr>("moe.phase")) {
    std::optional<Phase> phase = parsePhase(name.getValue());
    if (!phase)
      return emitError(module.getLoc())
             << "the module has completed the phase " << name
             << ", but input, placed, sharded, scheduled or "
                "lowered is expected";
    done = *phase;
  }
  if (options.to < done)
    return emitError(module.getLoc())
           << "the module has completed the phase `" << spellPhase(done)
           << "`, which lies behind `" << spellPhase(options.to) << "`";
  if (failed(mergeOptions(module, done)))
    return failure();
  for (int next = static_cast<int>(done) + 1;
       next <= static_cast<int>(options.to); ++next)
    if (failed(step(module, static_cast<Phase>(next))))
      return failure();
  return success();
}

std::unique_ptr<Pass> moe::createCompilePass(const CompileOptions &options) {
  return std::make_unique<CompilePass>(options);
}
