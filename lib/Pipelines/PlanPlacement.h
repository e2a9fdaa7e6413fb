// What `--place` with a machine comes to; used by Compile.cpp.
#ifndef MOE_PIPELINES_PLANPLACEMENT_H
#define MOE_PIPELINES_PLANPLACEMENT_H

#include "mlir/IR/BuiltinOps.h"
#include "moe/Analysis/PlacementWords.h"

namespace moe {

struct PlanOptions {
  std::string place, reportPath, modelPath;
  std::string target; // empty: layouts are not held against a target
  std::string cpu, kernelTable;
  bool listCandidates = false;
};

/// Plans, says so in a remark, writes `reportPath` if that is not empty, and
/// gives the best layout.
mlir::FailureOr<PlacementWords> planPlacement(mlir::ModuleOp module,
                                              const PlanOptions &options);

} // namespace moe
#endif
