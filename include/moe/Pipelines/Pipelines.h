// The phases and their order; nowhere else.
#ifndef MOE_PIPELINES_PIPELINES_H
#define MOE_PIPELINES_PIPELINES_H

#include "mlir/Pass/PassManager.h"
#include <optional>
#include <string>

namespace moe {

/// What a module has completed; each is legal IR that can be saved, read,
/// edited and resumed.
enum class Phase { Input, Placed, Sharded, Scheduled, Lowered, Artifact };

llvm::StringRef spellPhase(Phase phase);
std::optional<Phase> parsePhase(llvm::StringRef name);

/// Options of a compilation. Those that decide the result are recorded in
/// `moe.options`, and a resumed module keeps them.
struct CompileOptions {
  Phase to = Phase::Artifact;
  std::string place;        // words of --place; empty: the module's
  std::string target;       // "cpu"; empty: the module's, else cpu
  std::string cpu;          // --cpu; empty: the module's, else native
  std::string artifactPath; // where --compile-to=artifact writes
};

/// Appends the passes that lead from each module's own phase (its `moe.phase`,
/// `input` when absent) to `options.to`. The phase of a module is not known
/// before it is parsed: every step's passes do nothing on a module that has
/// completed the step.
mlir::LogicalResult buildCompilePipeline(mlir::PassManager &manager,
                                         const CompileOptions &options);

} // namespace moe
#endif
