// From the LLVM dialect to a shared object, in process: LLVM's optimiser and
// code generator, then lld.
#include "lld/Common/Driver.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "moe/Target/CpuTarget.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Target/TargetOptions.h"

LLD_HAS_DRIVER(elf)

using namespace mlir;
using namespace moe;

namespace {

// Files that exist as long as the link does.
class TemporaryFolder {
public:
  std::error_code create() {
    return llvm::sys::fs::createUniqueDirectory("moe-link", path);
  }
  ~TemporaryFolder() {
    if (!path.empty())
      llvm::sys::fs::remove_directories(path);
  }
  std::string file(StringRef name) const { return (path + "/" + name).str(); }

private:
  llvm::SmallString<128> path;
};

} // namespace

static std::unique_ptr<llvm::TargetMachine>
createMachine(ModuleOp module, const CpuTarget &cpu) {
  LLVMInitializeX86TargetInfo();
  LLVMInitializeX86Target();
  LLVMInitializeX86TargetMC();
  LLVMInitializeX86AsmPrinter();
  llvm::Triple triple("x86_64-unknown-linux-gnu");
  std::string error;
  const llvm::Target *target =
      llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target) {
    emitError(module.getLoc())
        << "x86-64 code cannot be made with this LLVM: " << error;
    return nullptr;
  }
  std::string features;
  for (const std::string &feature : cpu.features)
    features += (features.empty() ? "+" : ",+") + feature;
  // 512-bit registers are what the packed layout is made for.
  if (cpu.hasAvx512())
    features += features.empty() ? "-prefer-256-bit" : ",-prefer-256-bit";
  llvm::TargetOptions options;
  // Products and sums are fused where the IR says so, never by chance: results
  // must not depend on the optimiser.
  options.AllowFPOpFusion = llvm::FPOpFusion::Standard;
  return std::unique_ptr<llvm::TargetMachine>(target->createTargetMachine(
      triple, cpu.cpu, features, options, llvm::Reloc::PIC_, std::nullopt,
      llvm::CodeGenOptLevel::Aggressive));
}

static std::unique_ptr<llvm::Module> translate(ModuleOp module,
                                               llvm::LLVMContext &context,
                                               llvm::TargetMachine &machine,
                                               const CpuTarget &cpu) {
  std::unique_ptr<llvm::Module> ir =
      translateModuleToLLVMIR(module, context, "program");
  if (!ir) {
    emitError(module.getLoc(), "the module cannot be translated to LLVM IR");
    return nullptr;
  }
  ir->setTargetTriple(machine.getTargetTriple());
  ir->setDataLayout(machine.createDataLayout());
  for (llvm::Function &function : *ir) {
    if (function.isDeclaration())
      continue;
    // No loop becomes a call of memcpy or memset: the object must import
    // nothing.
    function.addFnAttr("no-builtins");
    function.addFnAttr("target-cpu", cpu.cpu);
    if (!machine.getTargetFeatureString().empty())
      function.addFnAttr("target-features", machine.getTargetFeatureString());
    if (cpu.hasAvx512())
      function.addFnAttr("prefer-vector-width", "512");
    function.addFnAttr(llvm::Attribute::NoUnwind);
  }
  return ir;
}

static void optimise(llvm::Module &ir, llvm::TargetMachine &machine) {
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager graphs;
  llvm::ModuleAnalysisManager modules;
  llvm::PipelineTuningOptions tuning;
  // The kernels are vector code already; more unrolling only spills.
  tuning.LoopUnrolling = false;
  tuning.LoopVectorization = false;
  tuning.SLPVectorization = false;
  llvm::PassBuilder builder(&machine, tuning);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(graphs);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, graphs, modules);
  builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O2)
      .run(ir, modules);
}

static LogicalResult emitObject(ModuleOp module, const CpuTarget &cpu,
                                SmallVectorImpl<char> &out) {
  std::unique_ptr<llvm::TargetMachine> machine = createMachine(module, cpu);
  if (!machine)
    return failure();
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> ir = translate(module, context, *machine, cpu);
  if (!ir)
    return failure();
  optimise(*ir, *machine);
  for (const llvm::Function &function : *ir)
    if (function.isDeclaration() && !function.isIntrinsic() &&
        !function.use_empty())
      return emitError(module.getLoc())
             << "the module calls `" << function.getName()
             << "`, but a program calls only the runtime's entry points";
  llvm::raw_svector_ostream stream(out);
  llvm::legacy::PassManager passes;
  if (machine->addPassesToEmitFile(passes, stream, nullptr,
                                   llvm::CodeGenFileType::ObjectFile))
    return emitError(module.getLoc(),
                     "machine code cannot be emitted for this target");
  passes.run(*ir);
  return success();
}

LogicalResult moe::emitSharedObject(ModuleOp module, const CpuTarget &target,
                                    SmallVectorImpl<char> &object) {
  SmallVector<char> relocatable;
  if (failed(emitObject(module, target, relocatable)))
    return failure();
  TemporaryFolder folder;
  if (std::error_code code = folder.create())
    return emitError(module.getLoc())
           << "no temporary folder can be made for the link: "
           << code.message();
  std::string input = folder.file("program.o"),
              output = folder.file("program.so");
  std::error_code code;
  {
    llvm::raw_fd_ostream stream(input, code);
    if (!code)
      stream.write(relocatable.data(), relocatable.size());
    stream.close();
    if (!code && stream.has_error())
      code = stream.error();
    stream.clear_error();
  }
  if (code)
    return emitError(module.getLoc())
           << "the temporary object file cannot be written: " << code.message();
  // --no-undefined: what the program would import is an error here, not when it
  // is loaded.
  SmallVector<const char *> arguments = {"ld.lld",
                                         "-shared",
                                         "--no-undefined",
                                         "--build-id=none",
                                         "--hash-style=gnu",
                                         "-z",
                                         "noexecstack",
                                         "-z",
                                         "relro",
                                         "-z",
                                         "now",
                                         "--threads=1",
                                         "--gc-sections",
                                         "--strip-debug",
                                         "-soname=program.so",
                                         "-o",
                                         output.c_str(),
                                         input.c_str()};
  std::string messages;
  llvm::raw_string_ostream stream(messages);
  lld::Result result =
      lld::lldMain(arguments, stream, stream, {{lld::Gnu, &lld::elf::link}});
  if (result.retCode != 0)
    return emitError(module.getLoc())
           << "linking the program failed: " << StringRef(stream.str()).trim();
  auto buffer = llvm::MemoryBuffer::getFile(output, /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
  if (!buffer)
    return emitError(module.getLoc()) << "the linked program cannot be read: "
                                      << buffer.getError().message();
  object.assign((*buffer)->getBufferStart(), (*buffer)->getBufferEnd());
  return success();
}
