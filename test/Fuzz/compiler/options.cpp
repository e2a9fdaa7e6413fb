// The options of moe-opt, on a module in each phase: `name value` on each line.
// Words that ask for a plan are read and, for small machines, answered.
#include "../fuzz.h"
#include "../mutators/mutators.h"
#include "ir.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "moe/Analysis/PlacementSearch.h"
#include "moe/Pipelines/Pipelines.h"
#include "moe/Transforms/Passes.h"

using namespace mlir;

MOE_FUZZ_MUTATE_BY(fuzz::mutateText);

static const char layer[] = R"(
#gate = affine_map<(d0, d1) -> (d0, d1)>
#up = affine_map<(d0, d1, d2, d3) -> (d2, d3)>
#down = affine_map<(d0, d1, d2) -> (d1, d2)>
func.func @layer0(%x: tensor<?x64xbf16> {moe.name = "x"},
    %gate: tensor<4x64xbf16> {moe.name = "gate", moe.weight = #moe.checkpoint<names = ["gate"], file_shape = [4, 64], map = #gate>},
    %up: tensor<4x2x32x64xbf16> {moe.name = "up", moe.weight = #moe.checkpoint<names = ["{e}.gate", "{e}.up"], file_shape = [32, 64], map = #up, expert_dim = 0, part_dim = 1>},
    %down: tensor<4x64x32xbf16> {moe.name = "down", moe.weight = #moe.checkpoint<names = ["{e}.down"], file_shape = [64, 32], map = #down, expert_dim = 0>})
    -> (tensor<?x64xbf16> {moe.name = "y"}) {
  %w, %ids = moe.route %x, %gate router(<top_k = 2>) : (tensor<?x64xbf16>, tensor<4x64xbf16>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  %y = moe.experts %x, %ids, %w, %up, %down activation(<kind = silu>)
      : (tensor<?x64xbf16>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x2x32x64xbf16>, tensor<4x64x32xbf16>) -> tensor<?x64xbf16>
  return %y : tensor<?x64xbf16>
})";

namespace {

class OptionsFuzzer {
public:
  OptionsFuzzer();
  void run(const std::vector<std::string> &lines);

private:
  OwningOpRef<ModuleOp> parse(const std::string &text) {
    return parseSourceString<ModuleOp>(text, context.get());
  }

  fuzz::Context context;
  std::vector<std::string> phases; // the layer in each
};

} // namespace

OptionsFuzzer::OptionsFuzzer() {
  moe::registerAllPasses();
  context.renew();
  for (moe::Phase to : {moe::Phase::Input, moe::Phase::Placed,
                        moe::Phase::Sharded, moe::Phase::Scheduled}) {
    OwningOpRef<ModuleOp> module = parse(layer);
    moe::CompileOptions options;
    options.place = "ranks=2 ep=2";
    options.to = to;
    PassManager manager(context.get());
    manager.addPass(moe::createCompilePass(options));
    fuzz::require(module && succeeded(manager.run(*module)),
                  "the layer compiles");
    std::string text;
    llvm::raw_string_ostream stream(text);
    module->print(stream);
    phases.push_back(std::move(text));
  }
}

// Not those that name files: other fuzzers read them.
static bool namesFile(llvm::StringRef words) {
  return words.contains('/') || words.contains(".json") ||
         words.contains("histogram");
}

// As many candidates as ranks have divisors: large machines take minutes, as
// they may.
static bool isSmall(llvm::StringRef words, MLIRContext *context) {
  auto emit = [&] { return mlir::emitError(UnknownLoc::get(context)); };
  FailureOr<std::vector<moe::PlanRequest>> requests =
      moe::parsePlanRequests(words, emit);
  if (failed(requests))
    return true; // refused at once
  if (requests->size() > 1)
    return false;
  const moe::PlanRequest &request = requests->front();
  return request.resolvedRanks() <= 8 && request.tokens.size() <= 1;
}

void OptionsFuzzer::run(const std::vector<std::string> &lines) {
  context.renew();
  moe::CompileOptions options;
  options.to = moe::Phase::Input;
  size_t phase = 0;
  std::string passes, question;
  for (const std::string &line : lines) {
    auto [name, value] = llvm::StringRef(line).split(' ');
    if (name == "module")
      phase = value.size() % phases.size();
    else if (name == "compile-to")
      options.to = moe::parsePhase(value).value_or(moe::Phase::Input);
    else if (name == "place")
      options.place = value;
    else if (name == "target")
      options.target = value;
    else if (name == "cpu")
      options.cpu = value;
    else if (name == "variants")
      options.variants = value;
    else if (name == "explain")
      question = value;
    else if (name == "list-candidates")
      options.listCandidates = true;
    else if (name == "pass")
      passes = value;
  }
  if (namesFile(options.place) || namesFile(passes) ||
      (moe::asksForPlan(options.place) &&
       !isSmall(options.place, context.get())))
    return;
  // Machine code takes too long for each input.
  options.to = std::min(options.to, moe::Phase::Scheduled);
  OwningOpRef<ModuleOp> module = parse(phases[phase]);
  PassManager manager(context.get());
  if (!question.empty()) {
    moe::DumpExplanationPassOptions asked;
    asked.question = question;
    asked.place = options.place;
    manager.addPass(moe::createDumpExplanationPass(asked));
  } else if (!passes.empty()) {
    std::string ignored;
    llvm::raw_string_ostream errors(ignored);
    if (failed(parsePassPipeline(passes, manager, errors)))
      return;
  } else {
    manager.addPass(moe::createCompilePass(options));
  }
  if (succeeded(manager.run(*module)))
    fuzz::require(succeeded(verify(*module)), "a pass leaves a valid module");
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static OptionsFuzzer fuzzer;
  fuzzer.run(fuzz::lines(fuzz::text(data, size)));
  return 0;
}
