// Our passes on modules that were changed: two bytes choose a module, one the
// pass, one the number of changes, and the rest what they are.
#include "../fuzz.h"
#include "ir.h"
#include "mutate.h"
#include "seeds.h"

#include "mlir/IR/OwningOpRef.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "moe/Pipelines/Pipelines.h"

using namespace mlir;

namespace {

class PassFuzzer {
public:
  PassFuzzer();
  void run(fuzz::Choices choices);

private:
  OwningOpRef<ModuleOp> parse(const std::string &text);
  bool addPass(PassManager &manager, const fuzz::Seed &seed,
               fuzz::Choices &choices);

  fuzz::Context context;
  std::vector<fuzz::Seed> seeds;
  std::vector<std::string> passes; // all of ours
};

} // namespace

static std::vector<std::string> ourPasses() {
  std::vector<std::string> names;
  for (const char *name :
       {"moe-dump-collectives",
        "moe-dump-payload",
        "moe-dump-varying-axes",
        "moe-verify-collectives",
        "moe-place-experts{place=\"ranks=4\"}",
        "moe-verify-placed",
        "moe-shard-layer",
        "moe-verify-sharded",
        "moe-expand-route",
        "moe-bufferize-layer",
        "moe-plan-arena",
        "moe-expand-copies",
        "moe-verify-scheduled",
        "moe-insert-marks",
        "moe-insert-team-guards",
        "moe-insert-count-reads",
        "moe-verify-lowered",
        "convert-hopper-to-nvvm",
        "convert-coll-to-moert",
        "moe-lower-interface",
        "convert-moert-to-llvm",
        "moe-pack-weights",
        "convert-moe-to-kernels",
        "convert-copy-to-moert",
        "moe-lower-bf16-to-bits",
        "convert-moe-to-vector",
        "convert-shard-to-coll",
        "moe-dump-explanation{question=decode place=\"machine=h100-8\"}"})
    names.push_back(name);
  return names;
}

PassFuzzer::PassFuzzer() : passes(ourPasses()) {
  moe::registerAllPasses();
  context.renew();
  for (fuzz::Seed &seed : fuzz::readSeeds(MOE_SEEDS)) {
    if (parse(seed.text))
      seeds.push_back(std::move(seed));
  }
  fuzz::require(seeds.size() > 100, "tests hold modules to begin with");
}

OwningOpRef<ModuleOp> PassFuzzer::parse(const std::string &text) {
  return parseSourceString<ModuleOp>(text, context.get());
}

static std::string print(ModuleOp module, OpPrintingFlags flags) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module->print(stream, flags);
  return text;
}

// What the module's own test runs, a whole compilation, or any pass.
bool PassFuzzer::addPass(PassManager &manager, const fuzz::Seed &seed,
                         fuzz::Choices &choices) {
  std::string ignored;
  llvm::raw_string_ostream errors(ignored);
  switch (choices.below(4)) {
  case 0: {
    moe::CompileOptions options;
    static const char *const places[] = {
        "", "ranks=1", "ranks=4 ep=2 etp=2",
        "ranks=8 ep=4 edp=2 dispatcher=all_gather boundary=replicated"};
    options.place = places[choices.below(std::size(places))];
    options.cpu = "x86-64-v3";
    // Machine code takes too long for each input.
    options.to = moe::Phase::Scheduled;
    manager.addPass(moe::createCompilePass(options));
    return true;
  }
  case 1: {
    const std::string &pass = passes[choices.below(passes.size())];
    return succeeded(parsePassPipeline(pass, manager, errors));
  }
  default:
    if (seed.passes.empty())
      return false;
    for (const std::string &pass : seed.passes)
      if (failed(parsePassPipeline(pass, manager, errors)))
        return false;
    return true;
  }
}

/// Ops of upstream accept operands of compatible types, and print one of them.
static bool hidesTypes(Operation *root) {
  return root
      ->walk([](Operation *op) {
        if (!op->hasTrait<OpTrait::SameOperandsAndResultType>())
          return WalkResult::advance();
        Type type = op->getResult(0).getType();
        return llvm::all_of(op->getOperandTypes(),
                            [&](Type other) { return other == type; })
                   ? WalkResult::advance()
                   : WalkResult::interrupt();
      })
      .wasInterrupted();
}

void PassFuzzer::run(fuzz::Choices choices) {
  context.renew();
  size_t number = choices.below(seeds.size());
  OwningOpRef<ModuleOp> module = parse(seeds[number].text);
  fuzz::require(bool(module), "a module can be read again");
  PassManager manager(context.get());
  bool hasPass = addPass(manager, seeds[number], choices);
  for (uint64_t i = choices.below(6); i > 0 && !choices.done(); --i)
    fuzz::mutate(*module, choices);
  // By way of its text: only what can be written there can come from users.
  module = parse(print(*module, OpPrintingFlags().printGenericOpForm()));
  if (!module || hidesTypes(*module))
    return;
  std::string text = print(*module, OpPrintingFlags());
  if (std::getenv("MOE_FUZZ_VERBOSE"))
    llvm::errs() << text << "\n";
  fuzz::require(bool(parse(text)), "what is printed can be read");
  if (hasPass && succeeded(manager.run(*module)))
    fuzz::require(succeeded(verify(*module)), "a pass leaves a valid module");
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static PassFuzzer fuzzer;
  fuzzer.run(fuzz::Choices(data, size));
  return 0;
}
