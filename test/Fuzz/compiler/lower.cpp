// Whole layers that were changed, through all phases down to assembly of a GPU
// or an artifact of a CPU: bytes choose a layer, a placement and a target, and
// the rest what is changed.
#include "../fuzz.h"
#include "ir.h"
#include "mutate.h"
#include "seeds.h"

#include "dialects/Moe/MoeDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"
#include "moe/Analysis/PlacementRules.h"
#include "moe/Import/Import.h"
#include "moe/Pipelines/Pipelines.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"

using namespace mlir;

namespace {

class LowerFuzzer {
public:
  LowerFuzzer();
  void run(fuzz::Choices choices);

private:
  OwningOpRef<ModuleOp> parse(const std::string &text) {
    return parseSourceString<ModuleOp>(text, context.get());
  }
  void addImported(const std::string &config);
  void addNamed(ModuleOp module);
  void compile(ModuleOp module, fuzz::Choices &choices);

  fuzz::Context context;
  fuzz::Folder folder;
  std::vector<std::string> layers;
};

} // namespace

static std::string print(ModuleOp module, OpPrintingFlags flags) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module->print(stream, flags);
  return text;
}

static bool isPlaced(ModuleOp module) {
  bool found = false;
  module.walk(
      [&](Operation *op) { found |= static_cast<bool>(moe::placementOf(op)); });
  return found;
}

LowerFuzzer::LowerFuzzer() {
  // Assembly is the end: no other program is run.
  ::setenv("PATH", "/none", 1);
  ::setenv("XDG_DATA_HOME", "/none", 1);
  ::unsetenv("CUDA_HOME");
  context.renew();
  std::error_code ignored;
  for (llvm::sys::fs::directory_iterator it(MOE_CONFIGS, ignored), end;
       it != end && !ignored; it.increment(ignored))
    addImported(it->path());
  for (fuzz::Seed &seed : fuzz::readSeeds(MOE_SEEDS))
    if (seed.text.find("moe.experts") != std::string::npos)
      if (OwningOpRef<ModuleOp> module = parse(seed.text))
        addNamed(*module);
  // The order of a folder is not the same everywhere.
  std::sort(layers.begin(), layers.end());
  fuzz::require(layers.size() > 20, "tests hold layers to begin with");
}

// A weight that stands in a checkpoint as it is in the program.
static Attribute makeSource(ArrayRef<int64_t> shape, const std::string &name,
                            MLIRContext *context) {
  AffineMap map = Builder(context).getMultiDimIdentityMap(shape.size());
  return moe::CheckpointAttr::get(
      context, ArrayAttr::get(context, StringAttr::get(context, name)),
      DenseI64ArrayAttr::get(context, shape), AffineMapAttr::get(map), -1, -1);
}

// Tests of single passes need no names and weights, whole compilations do.
void LowerFuzzer::addNamed(ModuleOp module) {
  for (auto function : module.getOps<func::FuncOp>()) {
    for (BlockArgument argument : function.getArguments()) {
      unsigned number = argument.getArgNumber();
      if (!function.getArgAttr(number, "moe.name"))
        function.setArgAttr(
            number, "moe.name",
            StringAttr::get(context.get(), "a" + std::to_string(number)));
      auto type = dyn_cast<RankedTensorType>(argument.getType());
      if (type && type.hasStaticShape() &&
          !function.getArgAttr(number, "moe.weight"))
        function.setArgAttr(number, "moe.weight",
                            makeSource(type.getShape(),
                                       "a" + std::to_string(number),
                                       context.get()));
    }
    for (unsigned i = 0; i < function.getNumResults(); ++i)
      if (!function.getResultAttr(i, "moe.name"))
        function.setResultAttr(
            i, "moe.name",
            StringAttr::get(context.get(), "r" + std::to_string(i)));
  }
  layers.push_back(print(module, OpPrintingFlags()));
}

// Each model in both types: a GPU computes in bf16 alone.
void LowerFuzzer::addImported(const std::string &config) {
  auto bytes = llvm::MemoryBuffer::getFile(config);
  if (!bytes)
    return;
  folder.write("config.json", (*bytes)->getBuffer());
  for (moe::ProgramType type :
       {moe::ProgramType::F32, moe::ProgramType::BF16}) {
    moe::ImportOptions options;
    options.type = type;
    llvm::Expected<moe::ImportedModel> model =
        moe::importCheckpoint(context.get(), folder.path, options);
    if (!model) {
      llvm::consumeError(model.takeError());
      continue;
    }
    // The first layer is as good as all.
    auto functions = llvm::to_vector(model->module->getOps<func::FuncOp>());
    for (func::FuncOp function : llvm::drop_begin(functions))
      function.erase();
    layers.push_back(print(*model->module, OpPrintingFlags()));
  }
}

// Where numbers stand that are no part of a name: `8` and `64` of
// tensor<8x64xf32>.
static std::vector<std::pair<size_t, size_t>> numbersIn(llvm::StringRef text) {
  std::vector<std::pair<size_t, size_t>> numbers; // begin, size
  for (size_t i = 0; i < text.size(); ++i) {
    if (!llvm::isDigit(text[i]))
      continue;
    size_t size = text.substr(i).find_if_not(llvm::isDigit);
    size = std::min(size, text.size() - i);
    char before = i == 0 ? ' ' : text[i - 1];
    if (before == 'x' || llvm::StringRef(" <[(,-").contains(before))
      numbers.push_back({i, size});
    i += size;
  }
  return numbers;
}

// A size, wherever it stands, so that all that must agree still does.
static std::string changeSize(const std::string &text, fuzz::Choices &choices) {
  static const char *const sizes[] = {"1",   "2",   "3",   "5",   "8",   "12",
                                      "63",  "64",  "65",  "96",  "127", "128",
                                      "192", "256", "384", "1000"};
  auto numbers = numbersIn(text);
  if (numbers.empty())
    return text;
  auto [at, length] = numbers[choices.below(numbers.size())];
  std::string before = text.substr(at, length),
              after = sizes[choices.below(std::size(sizes))], result;
  size_t done = 0;
  for (auto [begin, size] : numbers)
    if (text.compare(begin, size, before) == 0) {
      result += text.substr(done, begin - done) + after;
      done = begin + size;
    }
  return result + text.substr(done);
}

void LowerFuzzer::compile(ModuleOp module, fuzz::Choices &choices) {
  static const char *const places[] = {
      "ranks=1",
      "ranks=4 ep=2 etp=2",
      "ranks=8 ep=4 edp=2 dispatcher=all_gather boundary=replicated",
      "ranks=2 etp=2 dispatcher=all_gather",
      "ranks=8 ep=4 etp=2 nodes=2 dispatcher=two_level dedup=true",
      "ranks=4 dispatcher=all_gather boundary=replicated attn_tp=4"};
  moe::CompileOptions options;
  options.place = places[choices.below(std::size(places))];
  if (isPlaced(module))
    options.place.clear();
  options.to = moe::Phase::Lowered;
  switch (choices.below(8)) {
  case 0:
  case 1:
    options.target = "cpu";
    options.cpu = choices.below(2) ? "x86-64-v3" : "x86-64-v4";
    break;
  case 2: // machine code takes longer
    options.target = "cpu";
    options.cpu = choices.below(2) ? "x86-64-v3" : "x86-64-v4";
    options.to = moe::Phase::Artifact;
    break;
  default: // without all variants, of which there are too many for each input
    options.target = "cuda";
  }
  options.artifactPath = folder.path + "/layer.moe";
  PassManager manager(context.get());
  manager.addPass(moe::createCompilePass(options));
  if (succeeded(manager.run(module)))
    fuzz::require(succeeded(verify(module)), "a program is valid");
  (void)llvm::sys::fs::remove(options.artifactPath);
}

void LowerFuzzer::run(fuzz::Choices choices) {
  context.renew();
  std::string text = layers[choices.below(layers.size())];
  fuzz::Choices forTarget = choices;
  (void)choices.take(4);
  for (uint64_t i = choices.below(4); i > 0; --i)
    text = changeSize(text, choices);
  OwningOpRef<ModuleOp> module = parse(text);
  if (!module)
    return;
  for (uint64_t i = choices.below(3); i > 0 && !choices.done(); --i)
    fuzz::mutate(*module, choices);
  // By way of its text: only what can be written there can come from users.
  module = parse(print(*module, OpPrintingFlags().printGenericOpForm()));
  if (!module)
    return;
  if (std::getenv("MOE_FUZZ_VERBOSE"))
    llvm::errs() << *module << "\n";
  compile(*module, forTarget);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static LowerFuzzer fuzzer;
  fuzzer.run(fuzz::Choices(data, size));
  return 0;
}
