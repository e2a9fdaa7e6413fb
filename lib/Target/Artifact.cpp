#include "moe/Target/Artifact.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "moe/Target/CpuTarget.h"
#include "moert/artifact.h"

using namespace mlir;
using namespace moe;

// The functions alone: what the manifest was written from is no code.
static OwningOpRef<ModuleOp> programOf(ModuleOp module) {
  OwningOpRef<ModuleOp> code = ModuleOp::create(module.getLoc());
  OpBuilder builder = OpBuilder::atBlockEnd(code->getBody());
  for (Operation &op : *module.getBody())
    if (isa<LLVM::LLVMFuncOp, LLVM::GlobalOp>(op))
      builder.clone(op);
  return code;
}

LogicalResult moe::writeArtifact(ModuleOp module, StringRef path) {
  FailureOr<std::string> manifest = writeManifest(module);
  if (failed(manifest))
    return failure();
  auto scheduled = module->getAttrOfType<StringAttr>("moe.scheduled");
  if (!scheduled)
    return module.emitError(
        "does not carry `moe.scheduled`, the IR that it was lowered from");
  // The manifest was written, so the target is known.
  FailureOr<CpuTarget> target =
      parseCpuTarget(module->getAttrOfType<DictionaryAttr>("moe.options")
                         .getAs<StringAttr>("cpu")
                         .getValue());
  SmallVector<char> program;
  OwningOpRef<ModuleOp> code = programOf(module);
  if (failed(emitSharedObject(*code, *target, program)))
    return failure();
  std::vector<::moert::ArtifactEntry> entries = {
      {std::string(::moert::ManifestEntryName), *manifest},
      {std::string(::moert::ProgramEntryName),
       std::string_view(program.data(), program.size())},
      {std::string(::moert::ScheduledEntryName), scheduled.getValue()},
  };
  std::string error = ::moert::writeArtifact(path.str(), entries);
  if (!error.empty())
    return module.emitError(error);
  return success();
}
