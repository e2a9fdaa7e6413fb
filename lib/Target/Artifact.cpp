#include "moe/Target/Artifact.h"
#include "KernelObjects.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "moe/Target/CpuTarget.h"
#include "moert/artifact.h"
#include "llvm/ADT/StringSet.h"

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

// Device code, an entry of the archive for each kernel.
static FailureOr<std::vector<::moert::ArtifactEntry>>
kernelEntries(ModuleOp module) {
  std::vector<::moert::ArtifactEntry> entries;
  auto kernels = module->getAttrOfType<ArrayAttr>(moe::moert::kernelsName);
  if (!kernels)
    return entries;
  llvm::StringSet<> written; // a kernel that is launched in two ways is one
  for (auto kernel : kernels.getAsRange<moe::moert::KernelAttr>()) {
    if (!written.insert(kernel.getName()).second)
      continue;
    gpu::ObjectAttr object = lookupObject(module, kernel);
    if (!object)
      return emitError(module.getLoc())
             << "the module has no compiled code for the kernel "
             << kernel.getName();
    StringRef code = object.getObject().getValue();
    // Assembly is a text, without the zero that ends it in memory.
    if (object.getFormat() == gpu::CompilationTarget::Assembly)
      code = code.rtrim('\0');
    entries.push_back({kernelEntryName(kernel, object), code});
  }
  return entries;
}

gpu::ObjectAttr moe::lookupObject(ModuleOp module,
                                  moe::moert::KernelAttr kernel) {
  auto binary = module.lookupSymbol<gpu::BinaryOp>(kernel.getName());
  if (!binary || binary.getObjects().empty())
    return {};
  return dyn_cast<gpu::ObjectAttr>(binary.getObjects()[0]);
}

std::string moe::kernelEntryName(moe::moert::KernelAttr kernel,
                                 gpu::ObjectAttr object) {
  bool assembly = object.getFormat() == gpu::CompilationTarget::Assembly;
  return ("kernels/" + kernel.getName().getValue() +
          (assembly ? ".ptx" : ".cubin"))
      .str();
}

LogicalResult moe::writeArtifact(ModuleOp module, StringRef path) {
  FailureOr<std::string> manifest = writeManifest(module);
  if (failed(manifest))
    return failure();
  auto scheduled = module->getAttrOfType<StringAttr>("moe.scheduled");
  if (!scheduled)
    return emitError(module.getLoc(),
                     "the module does not carry `moe.scheduled`, the IR that "
                     "it was lowered from");
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
  FailureOr<std::vector<::moert::ArtifactEntry>> kernels =
      kernelEntries(module);
  if (failed(kernels))
    return failure();
  llvm::append_range(entries, *kernels);
  std::string error = ::moert::writeArtifact(path.str(), entries);
  if (!error.empty())
    return emitError(module.getLoc(), error);
  return success();
}
