// Generates one device kernel from the command line, at any stage: for lit
// tests without a GPU and for the GPU test and benchmark scripts.
//   moe-test-kernels grouped-matmul emit=hopper|llvm|ptx|cubin|interface
//   out=FILE key=value...
#include "dialects/Hopper/HopperDialect.h"
#include "moe/Codegen/Combine.h"
#include "moe/Codegen/FewRows.h"
#include "moe/Codegen/GroupedMatmul.h"
#include "moe/Codegen/MoveRows.h"
#include "moe/Codegen/PackRows.h"
#include "moe/Codegen/QuantizeRows.h"
#include "moe/Codegen/Regroup.h"
#include "moe/Codegen/Router.h"
#include "moe/Codegen/RowDots.h"
#include "moe/Codegen/SumRanks.h"
#include "moe/Codegen/TileTable.h"
#include "moe/Codegen/TokenSort.h"
#include "moe/Pipelines/DeviceKernels.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Verifier.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/Target/LLVM/NVVM/Target.h"
#include "mlir/Target/LLVMIR/Dialect/All.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/ToolOutputFile.h"

using namespace mlir;
using namespace moe;

namespace {
/// key=value arguments; every one must be asked for.
class Settings {
public:
  Settings(ArrayRef<const char *> arguments) {
    for (StringRef argument : arguments) {
      auto [key, value] = argument.split('=');
      values[key] = value;
    }
  }
  void read(StringRef key, std::string &target) {
    if (std::optional<StringRef> value = take(key))
      target = value->str();
  }
  void read(StringRef key, int64_t &target) {
    std::optional<StringRef> value = take(key);
    if (value && value->getAsInteger(10, target))
      error =
          "'" + key.str() + "' expects a number, got '" + value->str() + "'";
  }
  void read(StringRef key, bool &target) {
    int64_t number = target;
    read(key, number);
    target = number != 0;
  }
  void read(StringRef key, double &target) {
    std::optional<StringRef> value = take(key);
    if (value && value->getAsDouble(target))
      error =
          "'" + key.str() + "' expects a number, got '" + value->str() + "'";
  }
  /// What went wrong, empty if nothing.
  std::string getError() const {
    if (!error.empty() || values.empty())
      return error;
    return "unknown setting '" + values.begin()->first().str() + "'";
  }

private:
  std::optional<StringRef> take(StringRef key) {
    auto it = values.find(key);
    if (it == values.end())
      return std::nullopt;
    StringRef value = it->second;
    values.erase(it);
    return value;
  }
  llvm::StringMap<StringRef> values;
  std::string error;
};

/// One kernel that the tool knows: how its settings become a function in a
/// module.
struct Kernel {
  KernelInterface interface;
  std::function<void(gpu::GPUModuleOp)> build;
};
} // namespace

/// The kernel of a spec that all settings have been read into; `verify` is null
/// where every spec is right.
template <typename Spec>
static FailureOr<Kernel> finish(
    Settings &settings, Location loc, const Spec &spec,
    LogicalResult (*verify)(const Spec &, function_ref<InFlightDiagnostic()>),
    KernelInterface (*getInterface)(const Spec &),
    LLVM::LLVMFuncOp (*build)(gpu::GPUModuleOp, const Spec &)) {
  auto emitError = [&] { return mlir::emitError(loc); };
  if (!settings.getError().empty())
    return emitError() << settings.getError();
  if (verify && failed(verify(spec, emitError)))
    return failure();
  return Kernel{getInterface(spec), [spec, build](gpu::GPUModuleOp module) {
                  build(module, spec);
                }};
}

static FailureOr<GroupedEpilogue>
readEpilogue(StringRef name, function_ref<InFlightDiagnostic()> emitError) {
  auto known = llvm::StringSwitch<std::optional<GroupedEpilogue>>(name)
                   .Case("none", GroupedEpilogue::None)
                   .Case("swiglu", GroupedEpilogue::Swiglu)
                   .Case("swiglu-clamped", GroupedEpilogue::SwigluClamped)
                   .Default(std::nullopt);
  if (!known)
    return emitError() << "unknown epilogue '" << name
                       << "', expected none, swiglu or swiglu-clamped";
  return *known;
}

static FailureOr<Kernel> readGroupedMatmul(Settings &settings, Location loc) {
  GroupedMatmulSpec spec;
  std::string epilogue = "none";
  settings.read("name", spec.name);
  settings.read("experts", spec.experts);
  settings.read("n", spec.n);
  settings.read("k", spec.k);
  settings.read("tile-tokens", spec.tileTokens);
  settings.read("tile-weights", spec.tileWeights);
  settings.read("stages", spec.stages);
  settings.read("buffers", spec.buffers);
  settings.read("cluster", spec.cluster);
  settings.read("swap", spec.swap);
  settings.read("skip-dead", spec.skipDead);
  settings.read("tails", spec.tails);
  settings.read("split", spec.split);
  settings.read("split-tiles", spec.splitTiles);
  settings.read("weights-first", spec.weightsFirst);
  settings.read("scatter", spec.scatter);
  settings.read("scatter-factors", spec.scatterFactors);
  settings.read("gather", spec.gather);
  settings.read("row-scale", spec.rowScale);
  settings.read("bias", spec.bias);
  settings.read("epilogue", epilogue);
  settings.read("blocked-weights", spec.blockedWeights);
  settings.read("alpha", spec.alpha);
  settings.read("limit", spec.limit);
  settings.read("pass-tiles", spec.passTiles);
  settings.read("rotate", spec.rotate);
  settings.read("jitter", spec.jitter);
  settings.read("fp8", spec.fp8);
  settings.read("quantize", spec.quantize);
  settings.read("rescale", spec.rescale);
  settings.read("in-turn", spec.inTurn);
  settings.read("gather-index", spec.gatherIndex);
  settings.read("gather-divisor", spec.gatherDivisor);
  auto emitError = [&] { return mlir::emitError(loc); };
  FailureOr<GroupedEpilogue> known = readEpilogue(epilogue, emitError);
  if (failed(known))
    return failure();
  spec.epilogue = *known;
  return finish(settings, loc, spec, verifyGroupedMatmul,
                getGroupedMatmulInterface, buildGroupedMatmul);
}

static FailureOr<Kernel> readFewRows(Settings &settings, Location loc) {
  FewRowsSpec spec;
  std::string epilogue = "swiglu";
  settings.read("name", spec.name);
  settings.read("experts", spec.experts);
  settings.read("hidden", spec.hidden);
  settings.read("inner", spec.inner);
  settings.read("top-k", spec.topK);
  settings.read("max-tokens", spec.maxTokens);
  settings.read("table-size", spec.tableSize);
  settings.read("epilogue", epilogue);
  settings.read("blocked-gate-up", spec.blockedGateUp);
  settings.read("blocked-down", spec.blockedDown);
  settings.read("fp8", spec.fp8);
  settings.read("alpha", spec.alpha);
  settings.read("limit", spec.limit);
  settings.read("bias", spec.bias);
  settings.read("addend", spec.addend);
  settings.read("weight-on-input", spec.weightOnInput);
  settings.read("shares", spec.shares);
  settings.read("warps", spec.warps);
  settings.read("stages", spec.stages);
  settings.read("up-warps", spec.upWarps);
  settings.read("down-warps", spec.downWarps);
  settings.read("jitter", spec.jitter);
  auto emitError = [&] { return mlir::emitError(loc); };
  FailureOr<GroupedEpilogue> known = readEpilogue(epilogue, emitError);
  if (failed(known))
    return failure();
  spec.epilogue = *known;
  return finish(settings, loc, spec, verifyFewRows, getFewRowsInterface,
                buildFewRows);
}

static FailureOr<Kernel> readTokenSort(Settings &settings, Location loc) {
  TokenSortSpec spec;
  std::string stage = "single";
  settings.read("name", spec.name);
  settings.read("experts", spec.experts);
  settings.read("slots", spec.slots);
  settings.read("top-k", spec.topK);
  settings.read("group", spec.group);
  settings.read("table", spec.table);
  settings.read("window", spec.window);
  settings.read("tokens", spec.tokens);
  // All experts in reverse, as an example of a placement.
  bool reversed = false;
  settings.read("reversed", reversed);
  for (int64_t slot = spec.experts; reversed && slot-- > 0;)
    spec.placement.push_back(slot);
  settings.read("stage", stage);
  auto emitError = [&] { return mlir::emitError(loc); };
  auto known = llvm::StringSwitch<std::optional<TokenSortStage>>(stage)
                   .Case("single", TokenSortStage::Single)
                   .Case("count", TokenSortStage::Count)
                   .Case("place", TokenSortStage::Place)
                   .Default(std::nullopt);
  if (!known)
    return emitError() << "unknown stage '" << stage
                       << "', expected single, count or place";
  spec.stage = *known;
  return finish(settings, loc, spec, verifyTokenSort, getTokenSortInterface,
                buildTokenSort);
}

static FailureOr<Kernel> readCombine(Settings &settings, Location loc) {
  CombineSpec spec;
  settings.read("name", spec.name);
  settings.read("columns", spec.columns);
  settings.read("top-k", spec.topK);
  settings.read("weights", spec.weights);
  settings.read("addend", spec.addend);
  settings.read("gate", spec.gate);
  settings.read("positions", spec.positions);
  settings.read("places-first", spec.placesFirst);
  return finish(settings, loc, spec, verifyCombine, getCombineInterface,
                buildCombine);
}

/// Reads what a selection is; refuses nothing but unknown names.
static LogicalResult
readSelection(Settings &settings, SelectExpertsSpec &spec,
              function_ref<InFlightDiagnostic()> emitError) {
  std::string score = "softmax", groupScore = "none";
  settings.read("experts", spec.experts);
  settings.read("top-k", spec.topK);
  settings.read("score", score);
  settings.read("score-after", spec.scoreAfter);
  settings.read("bias", spec.bias);
  settings.read("normalize", spec.normalize);
  settings.read("group-score", groupScore);
  settings.read("groups", spec.groups);
  settings.read("kept-groups", spec.keptGroups);
  settings.read("mask-zero", spec.maskZero);
  settings.read("epsilon", spec.epsilon);
  settings.read("scale", spec.scale);
  auto knownScore = llvm::StringSwitch<std::optional<SelectScore>>(score)
                        .Case("softmax", SelectScore::Softmax)
                        .Case("sigmoid", SelectScore::Sigmoid)
                        .Default(std::nullopt);
  auto knownGroups = llvm::StringSwitch<std::optional<SelectGroups>>(groupScore)
                         .Case("none", SelectGroups::None)
                         .Case("max", SelectGroups::Max)
                         .Case("top2-sum", SelectGroups::Top2Sum)
                         .Default(std::nullopt);
  if (!knownScore || !knownGroups)
    return emitError() << "unknown score '" << score << "' or group score '"
                       << groupScore
                       << "', expected softmax or sigmoid, and none, max or "
                          "top2-sum";
  spec.score = *knownScore;
  spec.groupScore = *knownGroups;
  return success();
}

static FailureOr<Kernel> readSelectExperts(Settings &settings, Location loc) {
  SelectExpertsSpec spec;
  auto emitError = [&] { return mlir::emitError(loc); };
  settings.read("name", spec.name);
  if (failed(readSelection(settings, spec, emitError)))
    return failure();
  return finish(settings, loc, spec, verifySelectExperts,
                getSelectExpertsInterface, buildSelectExperts);
}

static FailureOr<Kernel> readRouter(Settings &settings, Location loc) {
  RouterSpec spec;
  std::string x = "bf16", w = "bf16";
  auto emitError = [&] { return mlir::emitError(loc); };
  settings.read("name", spec.name);
  settings.read("hidden", spec.hidden);
  settings.read("x", x);
  settings.read("w", w);
  settings.read("logit-bias", spec.logitBias);
  settings.read("round-logits", spec.roundLogits);
  settings.read("tokens-per-block", spec.tokensPerBlock);
  settings.read("experts-per-block", spec.expertsPerBlock);
  if (failed(readSelection(settings, spec.select, emitError)))
    return failure();
  for (StringRef type : {x, w})
    if (type != "bf16" && type != "f32")
      return emitError() << "unknown type '" << type
                         << "', expected bf16 or f32";
  spec.x = x == "f32" ? RouterType::F32 : RouterType::BF16;
  spec.w = w == "f32" ? RouterType::F32 : RouterType::BF16;
  return finish(settings, loc, spec, verifyRouter, getRouterInterface,
                buildRouter);
}

static FailureOr<Kernel> readPackRows(Settings &settings, Location loc) {
  PackRowsSpec spec;
  settings.read("groups", spec.groups);
  settings.read("parts", spec.parts);
  settings.read("rows", spec.rows);
  settings.read("columns", spec.columns);
  settings.read("padded-rows", spec.paddedRows);
  settings.read("padded-columns", spec.paddedColumns);
  settings.read("source-f32", spec.sourceF32);
  settings.read("target-f32", spec.targetF32);
  settings.read("blocked", spec.blocked);
  return finish(settings, loc, spec, verifyPackRows, getPackRowsInterface,
                buildPackRows);
}

static FailureOr<Kernel> readMoveRows(Settings &settings, Location loc) {
  MoveRowsSpec spec;
  settings.read("columns", spec.columns);
  settings.read("divisor", spec.divisor);
  settings.read("scatter", spec.scatter);
  settings.read("words", spec.words);
  settings.read("weights", spec.weights);
  return finish(settings, loc, spec, verifyMoveRows, getMoveRowsInterface,
                buildMoveRows);
}

static FailureOr<Kernel> readQuantizeRows(Settings &settings, Location loc) {
  QuantizeRowsSpec spec;
  settings.read("columns", spec.columns);
  settings.read("divisor", spec.divisor);
  settings.read("indexed", spec.indexed);
  settings.read("groups", spec.groups);
  return finish(settings, loc, spec, verifyQuantizeRows,
                getQuantizeRowsInterface, buildQuantizeRows);
}

static FailureOr<Kernel> readRowDots(Settings &settings, Location loc) {
  RowDotsSpec spec;
  settings.read("rows", spec.rows);
  settings.read("columns", spec.columns);
  settings.read("bias", spec.bias);
  settings.read("round", spec.round);
  settings.read("sigmoid", spec.sigmoid);
  return finish(settings, loc, spec, verifyRowDots, getRowDotsInterface,
                buildRowDots);
}

static FailureOr<Kernel> readRegroup(Settings &settings, Location loc) {
  RegroupSpec spec;
  settings.read("sources", spec.sources);
  settings.read("slots", spec.slots);
  return finish(settings, loc, spec, verifyRegroup, getRegroupInterface,
                buildRegroup);
}

static FailureOr<Kernel> readCounts(Settings &settings, Location loc) {
  CountsSpec spec;
  settings.read("count", spec.count);
  return finish<CountsSpec>(settings, loc, spec, nullptr, getCountsInterface,
                            buildCounts);
}

static FailureOr<Kernel> readSetWords(Settings &settings, Location loc) {
  SetWordsSpec spec;
  settings.read("count", spec.count);
  return finish<SetWordsSpec>(settings, loc, spec, nullptr,
                              getSetWordsInterface, buildSetWords);
}

static FailureOr<Kernel> readZeroWords(Settings &settings, Location loc) {
  ZeroWordsSpec spec;
  return finish<ZeroWordsSpec>(settings, loc, spec, nullptr,
                               getZeroWordsInterface, buildZeroWords);
}

static FailureOr<Kernel> readSumRanks(Settings &settings, Location loc) {
  SumRanksSpec spec;
  settings.read("f32", spec.f32);
  return finish<SumRanksSpec>(settings, loc, spec, nullptr,
                              getSumRanksInterface, buildSumRanks);
}

static FailureOr<Kernel> readKernel(StringRef name, Settings &settings,
                                    Location loc) {
  using Reader = FailureOr<Kernel> (*)(Settings &, Location);
  auto reader = llvm::StringSwitch<Reader>(name)
                    .Case("grouped-matmul", readGroupedMatmul)
                    .Case("token-sort", readTokenSort)
                    .Case("combine", readCombine)
                    .Case("select-experts", readSelectExperts)
                    .Case("router", readRouter)
                    .Case("few-rows", readFewRows)
                    .Case("pack-rows", readPackRows)
                    .Case("move-rows", readMoveRows)
                    .Case("quantize-rows", readQuantizeRows)
                    .Case("row-dots", readRowDots)
                    .Case("regroup", readRegroup)
                    .Case("counts", readCounts)
                    .Case("set-words", readSetWords)
                    .Case("zero-words", readZeroWords)
                    .Case("sum-ranks", readSumRanks)
                    .Default(nullptr);
  if (!reader)
    return emitError(loc)
           << "unknown kernel '" << name
           << "', expected grouped-matmul, token-sort, combine, "
              "select-experts, router, few-rows, pack-rows, "
              "move-rows, quantize-rows, row-dots, regroup, counts, set-words, "
              "zero-words or sum-ranks";
  return reader(settings, loc);
}

/// What the table of tiles says: `tiles k=.. n=.. paired=.. rows=.. [file=..]`.
static FailureOr<std::string> describeTile(Settings &settings, Location loc) {
  std::string file;
  int64_t k = 0, n = 0;
  bool paired = false;
  double rows = 0;
  settings.read("file", file);
  settings.read("k", k);
  settings.read("n", n);
  settings.read("paired", paired);
  settings.read("rows", rows);
  if (!settings.getError().empty())
    return emitError(loc) << settings.getError();
  TileTable table = getBuiltinTileTable();
  if (!file.empty()) {
    auto buffer = llvm::MemoryBuffer::getFile(file);
    if (!buffer)
      return emitError(loc) << "cannot read '" << file << "'";
    std::string error;
    FailureOr<TileTable> parsed =
        parseTileTable((*buffer)->getBuffer(), "table", error);
    if (failed(parsed))
      return emitError(loc) << error;
    table = *parsed;
  }
  const TileEntry *entry = table.find(k, n, paired);
  std::optional<TileChoice> choice;
  if (entry)
    choice = entry->find(rows);
  if (!choice)
    return std::string("not measured\n");
  std::string tails =
      choice->tails ? ", tails of " + std::to_string(choice->tails) : "";
  if (choice->cluster > 1)
    tails += ", clusters of " + std::to_string(choice->cluster);
  if (choice->split)
    tails += ", split " + std::to_string(choice->split);
  return llvm::formatv("{0} tokens x {1} weights{2}{3}{4}{5}\n",
                       choice->tileTokens, choice->tileWeights,
                       choice->swap ? ", swapped" : "",
                       choice->skipDead ? ", skipping" : "",
                       choice->gather ? ", gathering" : "", tails)
      .str();
}

/// The text or bytes asked for.
static FailureOr<std::string> emit(const Kernel &kernel, StringRef what,
                                   Location loc) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  if (what == "interface") {
    stream << llvm::formatv("{0:2}\n",
                            llvm::json::Value(toJSON(kernel.interface)));
    return text;
  }
  OwningOpRef<ModuleOp> top = ModuleOp::create(loc);
  OpBuilder builder = OpBuilder::atBlockEnd(top->getBody());
  kernel.build(createKernelModule(builder, loc, "kernels"));
  if (failed(verify(*top)))
    return failure();
  auto format = llvm::StringSwitch<std::optional<DeviceFormat>>(what)
                    .Case("llvm", DeviceFormat::LLVM)
                    .Case("ptx", DeviceFormat::PTX)
                    .Case("cubin", DeviceFormat::Cubin)
                    .Default(std::nullopt);
  if (!format && what != "hopper")
    return emitError(loc)
           << "unknown stage '" << what
           << "', expected hopper, llvm, ptx, cubin or interface";
  if (format) {
    std::optional<std::string> toolkit = findCudaToolkit();
    if (format == DeviceFormat::Cubin && !toolkit)
      return emitError(loc)
             << "no ptxas in PATH or CUDA_HOME; emit ptx instead";
    PassManager manager(loc.getContext());
    addDeviceKernelPasses(manager, *format, toolkit.value_or(""));
    if (failed(manager.run(*top)))
      return failure();
  }
  auto binaries = top->getBody()->getOps<gpu::BinaryOp>();
  if (binaries.empty()) {
    top->print(stream);
    return text;
  }
  auto object = cast<gpu::ObjectAttr>((*binaries.begin()).getObjects()[0]);
  text = object.getObject().getValue();
  if (format == DeviceFormat::PTX)
    text.resize(strlen(text.c_str()));
  return text;
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  if (argc < 2) {
    llvm::errs() << "usage: " << argv[0] << " KERNEL key=value...\n";
    return 1;
  }
  DialectRegistry registry;
  registry.insert<arith::ArithDialect, gpu::GPUDialect, hopper::HopperDialect,
                  LLVM::LLVMDialect, NVVM::NVVMDialect, scf::SCFDialect>();
  registerAllExtensions(registry);
  registerAllToLLVMIRTranslations(registry);
  NVVM::registerNVVMTargetInterfaceExternalModels(registry);
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  context.loadAllAvailableDialects();
  Location loc = NameLoc::get(StringAttr::get(&context, argv[1]));

  Settings settings(ArrayRef<const char *>(argv + 2, argc - 2));
  std::string what = "hopper", file = "-";
  settings.read("emit", what);
  settings.read("out", file);
  FailureOr<std::string> text = failure();
  if (StringRef(argv[1]) == "tiles") {
    text = describeTile(settings, loc);
  } else {
    FailureOr<Kernel> kernel = readKernel(argv[1], settings, loc);
    if (succeeded(kernel))
      text = emit(*kernel, what, loc);
  }
  if (failed(text))
    return 1;
  std::error_code error;
  llvm::ToolOutputFile output(file, error, llvm::sys::fs::OF_None);
  if (error) {
    llvm::errs() << "cannot write '" << file << "': " << error.message()
                 << "\n";
    return 1;
  }
  output.os() << *text;
  output.keep();
  return 0;
}
