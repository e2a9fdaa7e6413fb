// Which layout, and why: every legal one is priced by simulating the program
// that it compiles to.
#ifndef MOE_ANALYSIS_PLACEMENTSEARCH_H
#define MOE_ANALYSIS_PLACEMENTSEARCH_H

#include "mlir/IR/BuiltinOps.h"
#include "moe/Analysis/MemoryLedger.h"
#include "moe/Analysis/PlacementWords.h"

namespace moe {

/// One line of words of `--place` with `machine`: what is given is a pin.
struct PlanRequest {
  std::string machineName;
  Machine machine;
  RoutingModel routing;
  std::optional<int64_t> ranks, ep, etp, edp, attnTp, attnDp, cp;
  std::optional<Dispatcher> dispatcher;
  std::optional<bool> dedup;
  std::optional<Boundary> boundary;
  std::optional<SharedLayout> shared;
  std::vector<double> tokens; // one, or a sweep
  std::string phase;
  std::optional<GemmType> gemm;
  StepShape step; // what is not searched
  int64_t resolvedRanks() const;
};

/// The keys that a plan takes.
llvm::ArrayRef<llvm::StringRef> planWords();

/// Reads alternatives between `;`, each with its own machine.
mlir::FailureOr<std::vector<PlanRequest>>
parsePlanRequests(llvm::StringRef text,
                  llvm::function_ref<mlir::InFlightDiagnostic()> emitError);
/// Refuses recorded routing whose rows are not those of such a layer.
mlir::LogicalResult checkRouting(const PlanRequest &request, ExpertsOp layer);
/// Whether the words ask for a plan: they name a machine.
bool asksForPlan(llvm::StringRef text);

/// A layout with its price. Layouts are compared by `layout()`.
struct Candidate {
  /// The words that tell it from other candidates.
  std::string layout() const;
  PlacementWords words; // as pinned
  int64_t attnTp = 1, attnDp = 1, cp = 1, pp = 1;
  bool legal = true;
  std::string reason; // why not
  double us = 0, p95Us = 0;
  double tokens = 0;
  std::map<std::string, double> terms;
  LayerCost layer;
  MemoryLedger memory;
};

/// Every candidate at one number of tokens, best first, refused ones last.
struct TokenPoint {
  double tokens = 0;
  std::vector<Candidate> candidates;
};

struct Plan {
  PlanRequest request;
  int64_t layers = 0;                // MoE layers of the model, or the module
  bool wholeModel = false;           // of the model
  std::vector<Candidate> candidates; // at the number of tokens asked for; of a
                                     // range, at the middle one
  std::vector<TokenPoint> sweep;     // ascending, of the range or around it
  bool asked = false;                // the range was asked for
  Candidate best;                    // with timeline and loads
  bool hasBest = false;              // some candidate is legal

  const Candidate *winner() const { return hasBest ? &best : nullptr; }
};

/// The programs of layouts, made by the passes that make what runs. Errors go
/// to the context's diagnostics.
class LayoutPrograms {
public:
  virtual ~LayoutPrograms() = default;
  /// The `sharded` program; `moe.placement` and `moe.copies` on its functions
  /// say how experts lie and how many layers it stands for.
  virtual mlir::OwningOpRef<mlir::ModuleOp> shard(const PlacementWords &) = 0;
  /// What it holds once it is scheduled.
  virtual mlir::FailureOr<HeldBytes> schedule(mlir::ModuleOp sharded) = 0;
  /// What the named target makes of it; fails where the target cannot.
  virtual mlir::FailureOr<HeldBytes> lower(mlir::ModuleOp sharded) = 0;
  /// Whether the compilation names a target.
  virtual bool hasTarget() const = 0;
};

/// Prices the layouts that `request` leaves open. `model` may be null.
mlir::FailureOr<Plan> searchPlacement(mlir::ModuleOp module,
                                      const PlanRequest &request,
                                      const ModelConfig *model,
                                      LayoutPrograms &programs);

} // namespace moe
#endif
