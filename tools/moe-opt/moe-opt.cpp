// moe-opt: passes (as mlir-opt), and the phases of a compilation with
// --compile-to.
#include "input_limits.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Support/FileUtilities.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "moe/Pipelines/Pipelines.h"
#include "moe/Pipelines/Registration.h"
#include "moe/Transforms/Passes.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/ToolOutputFile.h"

using namespace mlir;

static llvm::cl::OptionCategory category("moe-opt options");
static llvm::cl::opt<std::string>
    compileTo("compile-to",
              llvm::cl::desc("compile to a phase: input, placed, sharded, "
                             "scheduled, lowered, artifact"),
              llvm::cl::value_desc("phase"), llvm::cl::cat(category));
static llvm::cl::opt<std::string> place(
    "place",
    llvm::cl::desc(
        "key=value words that pin the layout, such as \"ranks=8 ep=4 etp=2\", "
        "or ask for a plan, such as \"machine=h200-8 tokens=4096\""),
    llvm::cl::value_desc("words"), llvm::cl::cat(category));
static llvm::cl::opt<std::string>
    target("target",
           llvm::cl::desc("what is compiled for: cpu (default) or "
                          "cuda, an NVIDIA Hopper GPU"),
           llvm::cl::value_desc("name"), llvm::cl::cat(category));
static llvm::cl::opt<std::string> cpu(
    "cpu",
    llvm::cl::desc(
        "processor of target cpu: native (default), x86-64-v3 or x86-64-v4"),
    llvm::cl::value_desc("name"), llvm::cl::cat(category));

static llvm::cl::opt<std::string> kernelTable(
    "kernel-table",
    llvm::cl::desc("measured kernels that --target=cuda chooses from, as in "
                   "machines/kernels (default: the built-in table)"),
    llvm::cl::value_desc("file"), llvm::cl::cat(category));

static llvm::cl::opt<std::string> variants(
    "variants",
    llvm::cl::desc("all: an artifact of all kernels that --target=cuda may "
                   "choose from, for moe-run tune"),
    llvm::cl::value_desc("which"), llvm::cl::cat(category));

static llvm::cl::opt<std::string>
    report("report",
           llvm::cl::desc("write the plan that --place asks for: FILE.json, or "
                          "FILE.html and FILE.json beside it"),
           llvm::cl::value_desc("file"), llvm::cl::cat(category));
static llvm::cl::opt<std::string> modelTerms(
    "model-terms",
    llvm::cl::desc("price the model around the layers too: its config.json"),
    llvm::cl::value_desc("file"), llvm::cl::cat(category));
static llvm::cl::opt<bool>
    listCandidates("list-candidates",
                   llvm::cl::desc("put every candidate into the report"),
                   llvm::cl::cat(category));

static llvm::cl::opt<std::string>
    explain("explain",
            llvm::cl::desc("answer a question about the layer on the machine "
                           "that --place names: load-jitter, padding, decode, "
                           "token-sort"),
            llvm::cl::value_desc("question"), llvm::cl::cat(category));

static int fail(const llvm::Twine &message) {
  llvm::errs() << "moe-opt: error: " << message << "\n";
  return 2;
}

// A file appears whole or not at all.
static int writeText(llvm::StringRef path, llvm::StringRef text) {
  if (path == "-") {
    llvm::outs() << text;
    return 0;
  }
  llvm::Error error = llvm::writeToOutput(path, [&](llvm::raw_ostream &stream) {
    stream << text;
    return llvm::Error::success();
  });
  if (error)
    return fail("cannot write '" + path +
                "': " + llvm::toString(std::move(error)));
  return 0;
}

// What LLVM's libraries register for themselves before main begins: hundreds
// of switches of code generators, which --help-hidden shows.
static void hideOptionsOfLibraries() {
  for (auto &[name, option] : llvm::cl::getRegisteredOptions())
    if (llvm::none_of(option->Categories, [](llvm::cl::OptionCategory *of) {
          return of == &category || of->getName() == "Generic Options";
        }))
      option->setHiddenFlag(llvm::cl::Hidden);
}

static constexpr llvm::StringLiteral overview =
    R"(moe-opt: compiler for Mixture-of-Experts layers

  moe-opt layer.mlir --place="ranks=8 ep=8" --compile-to=artifact -o layer.moe
  moe-opt layer.mlir --place="machine=h200-8 tokens=4096" --compile-to=placed --report=plan.html -o placed.mlir

These are the moe-opt options, at the end. Passes run alone too, under their names.
)";

int main(int argc, char **argv) {
  DialectRegistry registry;
  moe::registerAllDialects(registry);
  hideOptionsOfLibraries();
  moe::registerAllPasses();
  auto [input, output] =
      registerAndParseCLIOptions(argc, argv, overview, registry);
  MlirOptMainConfig config = MlirOptMainConfig::createFromCLOptions();

  moe::CompileOptions options;
  options.place = place;
  options.target = target;
  options.cpu = cpu;
  options.kernelTable = kernelTable;
  options.variants = variants;
  options.report = report;
  options.modelTerms = modelTerms;
  options.listCandidates = listCandidates;
  if (!explain.empty()) {
    if (!compileTo.empty())
      return fail("--explain answers a question, and --compile-to compiles: "
                  "give one of them");
    config.setPassPipelineSetupFn([&](PassManager &manager) {
      moe::DumpExplanationPassOptions question;
      question.question = explain;
      question.place = place;
      manager.addPass(moe::createDumpExplanationPass(question));
      return success();
    });
  } else if (!compileTo.empty()) {
    std::optional<moe::Phase> phase = moe::parsePhase(compileTo);
    if (!phase)
      return fail("--compile-to is '" + compileTo +
                  "', but input, placed, sharded, scheduled, lowered or "
                  "artifact is expected");
    options.to = *phase;
    if (*phase == moe::Phase::Artifact) {
      if (output == "-")
        return fail("an artifact is no text: name its file with -o");
      options.artifactPath = output;
    }
    config.setPassPipelineSetupFn([&](PassManager &manager) {
      manager.addPass(moe::createCompilePass(options));
      return success();
    });
  } else if (!place.empty() || !target.empty() || !cpu.empty() ||
             !kernelTable.empty() || !variants.empty() || !report.empty() ||
             !modelTerms.empty() || listCandidates) {
    return fail("--place, --target, --cpu, --kernel-table, --variants, "
                "--report, --model-terms and --list-candidates belong to a "
                "compilation: say how far with --compile-to");
  }

  std::string message;
  std::unique_ptr<llvm::MemoryBuffer> buffer = openInputFile(input, &message);
  if (!buffer)
    return fail(message);
  if (llvm::Error error = moe::checkInputLimits(buffer->getMemBufferRef()))
    return fail(llvm::toString(std::move(error)));
  if (llvm::Error error =
          moe::checkBytecode(buffer->getMemBufferRef(), registry))
    return fail(llvm::toString(std::move(error)));
  std::string text;
  llvm::raw_string_ostream stream(text);
  if (failed(MlirOptMain(stream, std::move(buffer), registry, config)))
    return 1;
  return options.artifactPath.empty() && explain.empty()
             ? writeText(output, text)
             : 0;
}
