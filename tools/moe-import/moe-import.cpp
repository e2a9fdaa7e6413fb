// moe-import: config.json and safetensors names to `input` IR.
#include "mlir/IR/MLIRContext.h"
#include "moe/Import/Import.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/WithColor.h"

using namespace llvm;

static cl::OptionCategory category("moe-import options");
static cl::opt<std::string> folder(cl::Positional, cl::Required,
                                   cl::desc("<folder with config.json>"),
                                   cl::cat(category));
static cl::opt<std::string> output("o", cl::init("-"),
                                   cl::desc("File to write; - prints"),
                                   cl::value_desc("file"), cl::cat(category));
static cl::opt<int64_t>
    layer("layer", cl::desc("Import this layer only; all MoE layers otherwise"),
          cl::value_desc("index"), cl::cat(category));
static cl::opt<bool> noRouter(
    "no-router",
    cl::desc("Leave routing out: expert_ids and expert_weights are inputs"),
    cl::cat(category));
static cl::opt<std::string>
    dtype("dtype",
          cl::desc("Type of the program, f32 or bf16; the model's own "
                   "otherwise"),
          cl::value_desc("type"), cl::cat(category));

static int fail(const Twine &message) {
  SmallVector<StringRef> lines;
  std::string text = message.str();
  StringRef(text).split(lines, '\n');
  for (StringRef line : lines)
    WithColor::error(errs(), "moe-import") << line << "\n";
  return 1;
}

// A reader never sees half a file: writes a temporary beside it and renames.
static Error writeOutput(mlir::ModuleOp module) {
  if (output == "-") {
    module.print(outs());
    outs() << "\n";
    return Error::success();
  }
  return writeToOutput(output, [&](raw_ostream &stream) {
    module.print(stream);
    stream << "\n";
    return Error::success();
  });
}

int main(int argc, char **argv) {
  cl::HideUnrelatedOptions(category);
  cl::ParseCommandLineOptions(
      argc, argv,
      "moe-import: from a checkpoint's config.json to a program\n\nmodel_type "
      "may be " +
          join(moe::knownModelTypes(), ", ") + "\n");
  moe::ImportOptions options;
  if (layer.getNumOccurrences())
    options.layer = layer;
  if (dtype.getNumOccurrences()) {
    if (dtype != "f32" && dtype != "bf16")
      return fail("--dtype is '" + dtype + "', but f32 or bf16 is expected");
    options.type =
        dtype == "f32" ? moe::ProgramType::F32 : moe::ProgramType::BF16;
  }
  options.router = !noRouter;
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  Expected<moe::ImportedModel> model =
      moe::importCheckpoint(&context, folder, options);
  if (!model)
    return fail(toString(model.takeError()));
  for (const std::string &note : model->notes)
    WithColor::note(errs(), "moe-import") << note << "\n";
  if (Error error = writeOutput(*model->module))
    return fail(output + ": cannot be written: " + toString(std::move(error)));
  return 0;
}
