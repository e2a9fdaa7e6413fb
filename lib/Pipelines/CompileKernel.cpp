// One gpu.module to PTX by LLVM, and on to machine code by ptxas. Upstream's
// serialisation would read and link NVIDIA's libdevice for each kernel; ours
// call nothing.
#include "moe/Pipelines/DeviceKernels.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Target/LLVM/ModuleToObject.h"
#include "mlir/Target/LLVM/NVVM/Utils.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"
#include <unistd.h>

using namespace mlir;
using namespace moe;

namespace {

// The assembly of a module's kernels.
class Assembly : public LLVM::ModuleToObject {
public:
  Assembly(gpu::GPUModuleOp kernels, NVVM::NVVMTargetAttr target)
      : ModuleToObject(*kernels, target.getTriple(), target.getChip(),
                       target.getFeatures(), target.getO()) {}

protected:
  FailureOr<SmallVector<char, 0>>
  moduleToObject(llvm::Module &module) override {
    FailureOr<llvm::TargetMachine *> machine = getOrCreateTargetMachine();
    if (failed(machine))
      return failure();
    FailureOr<SmallString<0>> text = translateModuleToISA(
        module, **machine, [&] { return getOperation().emitError(); });
    if (failed(text))
      return failure();
    return SmallVector<char, 0>(text->begin(), text->end());
  }
};

// A file that exists as long as this does.
class TemporaryFile {
public:
  std::error_code create(StringRef ending) {
    std::error_code code =
        llvm::sys::fs::createTemporaryFile("moe-kernel", ending, path);
    if (!code)
      remover.setFile(path);
    return code;
  }
  StringRef getPath() const { return path; }

private:
  SmallString<128> path;
  llvm::FileRemover remover;
};

class CompileKernelPass
    : public PassWrapper<CompileKernelPass, OperationPass<gpu::GPUModuleOp>> {
public:
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(CompileKernelPass)
  CompileKernelPass(DeviceFormat format, StringRef toolkit)
      : format(format), toolkit(toolkit) {}

  StringRef getArgument() const final { return "moe-compile-kernel"; }
  StringRef getDescription() const final {
    return "attach the compiled code of a gpu.module to it";
  }
  void runOnOperation() override;

private:
  FailureOr<SmallVector<char, 0>> compile(NVVM::NVVMTargetAttr target);
  FailureOr<SmallVector<char, 0>> assemble(StringRef ptx, StringRef chip,
                                           int optLevel);

  DeviceFormat format;
  std::string toolkit;
};

} // namespace

// ptxas touches some 100 MiB for a large kernel: with large pages it is a tenth
// faster. What the user has set is kept.
static std::vector<std::string> makeEnvironmentOfPtxas() {
  constexpr llvm::StringLiteral tunables = "GLIBC_TUNABLES=";
  std::vector<std::string> all;
  for (char **entry = environ; *entry; ++entry)
    all.emplace_back(*entry);
  if (llvm::none_of(
          all, [&](StringRef entry) { return entry.starts_with(tunables); }))
    all.push_back(
        (tunables + "glibc.malloc.hugetlb=1:glibc.malloc.top_pad=67108864")
            .str());
  return all;
}

static std::error_code write(StringRef path, StringRef text) {
  std::error_code code;
  llvm::raw_fd_ostream stream(path, code);
  if (code)
    return code;
  stream << text;
  stream.close();
  code = stream.error();
  stream.clear_error();
  return code;
}

static std::string contentsOf(StringRef path) {
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
  return buffer ? (*buffer)->getBuffer().str() : std::string();
}

FailureOr<SmallVector<char, 0>>
CompileKernelPass::assemble(StringRef ptx, StringRef chip, int optLevel) {
  gpu::GPUModuleOp kernels = getOperation();
  TemporaryFile input, output, log;
  std::error_code code = input.create("ptx");
  if (!code)
    code = output.create("cubin");
  if (!code)
    code = log.create("log");
  if (!code)
    code = write(input.getPath(), ptx);
  if (code)
    return kernels.emitOpError("cannot be assembled: no temporary file can be "
                               "written: ")
           << code.message();
  std::string ptxas = toolkit + "/bin/ptxas", level = std::to_string(optLevel);
  StringRef arguments[] = {"ptxas",         "-arch", chip,
                           input.getPath(), "-o",    output.getPath(),
                           "--opt-level",   level};
  static const std::vector<std::string> variables = makeEnvironmentOfPtxas();
  std::vector<StringRef> environment(variables.begin(), variables.end());
  std::optional<StringRef> redirects[] = {std::nullopt, log.getPath(),
                                          log.getPath()};
  std::string message;
  if (llvm::sys::ExecuteAndWait(ptxas, arguments, ArrayRef(environment),
                                redirects, /*SecondsToWait=*/0,
                                /*MemoryLimit=*/0, &message)) {
    std::string said = contentsOf(log.getPath());
    return kernels.emitOpError("cannot be assembled by ")
           << ptxas << ": "
           << (message.empty() ? StringRef(said).trim() : StringRef(message));
  }
  std::string object = contentsOf(output.getPath());
  if (object.empty())
    return kernels.emitOpError("cannot be assembled: ")
           << ptxas << " wrote nothing";
  return SmallVector<char, 0>(object.begin(), object.end());
}

FailureOr<SmallVector<char, 0>>
CompileKernelPass::compile(NVVM::NVVMTargetAttr target) {
  NVVM::SerializeGPUModuleBase::init();
  std::optional<SmallVector<char, 0>> ptx =
      Assembly(getOperation(), target).run();
  if (!ptx)
    return failure();
  if (format == DeviceFormat::PTX)
    return std::move(*ptx);
  return assemble(StringRef(ptx->data(), ptx->size()), target.getChip(),
                  target.getO());
}

void CompileKernelPass::runOnOperation() {
  gpu::GPUModuleOp kernels = getOperation();
  ArrayAttr targets = kernels.getTargetsAttr();
  if (!targets || targets.empty()) {
    kernels.emitOpError("has no target that it could be compiled for");
    return signalPassFailure();
  }
  Builder builder(&getContext());
  SmallVector<Attribute> objects;
  for (Attribute attribute : targets) {
    auto target = dyn_cast<NVVM::NVVMTargetAttr>(attribute);
    if (!target) {
      kernels.emitOpError()
          << "has the target " << attribute << ", but #nvvm.target is expected";
      return signalPassFailure();
    }
    FailureOr<SmallVector<char, 0>> code = compile(target);
    if (failed(code))
      return signalPassFailure();
    objects.push_back(builder.getAttr<gpu::ObjectAttr>(
        target,
        format == DeviceFormat::PTX ? gpu::CompilationTarget::Assembly
                                    : gpu::CompilationTarget::Binary,
        builder.getStringAttr(StringRef(code->data(), code->size())),
        /*properties=*/DictionaryAttr(), /*kernels=*/gpu::KernelTableAttr()));
  }
  kernels->setAttr(kCompiledObjects, builder.getArrayAttr(objects));
}

std::unique_ptr<Pass> moe::createCompileKernelPass(DeviceFormat format,
                                                   StringRef toolkit) {
  return std::make_unique<CompileKernelPass>(format, toolkit);
}
