// The phases and their order; nowhere else.
#ifndef MOE_PIPELINES_PIPELINES_H
#define MOE_PIPELINES_PIPELINES_H

#include "mlir/Pass/PassManager.h"
#include <memory>
#include <optional>
#include <string>

namespace moe {

struct CpuTarget;

/// What a module has completed; each is legal IR that can be saved, read,
/// edited and resumed.
enum class Phase { Input, Placed, Sharded, Scheduled, Lowered, Artifact };

llvm::StringRef spellPhase(Phase phase);
std::optional<Phase> parsePhase(llvm::StringRef name);

/// Options of a compilation. Those that decide the result are recorded in
/// `moe.options`; a resumed module keeps them, and refuses others.
struct CompileOptions {
  Phase to = Phase::Artifact;
  std::string place;           // words of --place; empty: the module's
  std::string target;          // "cpu" or "cuda"; empty: the module's, else cpu
  std::string cpu;             // --cpu; empty: the module's, else native
  std::string kernelTable;     // file of measured kernels; empty: the module's,
                               // else the built-in one
  std::string variants;        // "all": a program to be timed; empty: the
                               // module's, else the kernels chosen
  std::string artifactPath;    // where --compile-to=artifact writes
  std::string report;          // file of the plan, when `place` asks for one
  std::string modelTerms;      // config.json of the model around the layers
  bool listCandidates = false; // every candidate in the report
};

/// A pass that leads a module from its own phase (its `moe.phase`, `input` when
/// absent) to `options.to`.
std::unique_ptr<mlir::Pass> createCompilePass(const CompileOptions &options);

// The steps. Each requires a module of the phase before and ends with the exit
// check of its own.
/// `planned`: the words come from a plan, which has said why.
void buildPlacedPipeline(mlir::OpPassManager &manager, llvm::StringRef place,
                         bool planned);
void buildShardedPipeline(mlir::OpPassManager &manager);
void buildScheduledPipeline(mlir::OpPassManager &manager);
void buildLoweredPipeline(mlir::OpPassManager &manager,
                          const CpuTarget &target);
/// The head of the next: kernels and the arena that they need. `kernelTable` as
/// in CompileOptions; with `variants` all kernels that may be chosen.
void addKernelPasses(mlir::OpPassManager &manager, llvm::StringRef kernelTable,
                     bool variants = false);
/// For --target=cuda. `toolkit` is what findCudaToolkit gives; without one the
/// kernels stay PTX.
void buildCudaLoweredPipeline(mlir::OpPassManager &manager,
                              const std::optional<std::string> &toolkit,
                              llvm::StringRef kernelTable, bool variants);

} // namespace moe
#endif
