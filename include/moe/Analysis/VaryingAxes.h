// Varying axes: for each SSA value, the mesh axes over which it may differ
// between ranks.
//
// Meaning. One program runs on all ranks; a rank is a point of the grid. A
// value varies at most over a set A of axes when it is a function of the rank's
// coordinates on A alone: two ranks that agree on A hold equal values (at the
// same place of the program, in the same iteration of every loop around it).
// The contents of a tensor and each of its dimensions have sets of their own; a
// dimension's set is a subset of the contents' set, and empty if static.
//
// The analysis is a sparse forward dataflow analysis, a least fixpoint of
// unions, and may only err by naming too many axes. See docs/Collectives.md for
// the argument and its assumptions.
#ifndef MOE_ANALYSIS_VARYINGAXES_H
#define MOE_ANALYSIS_VARYINGAXES_H

#include "mlir/Analysis/DataFlowFramework.h"
#include "mlir/IR/BuiltinOps.h"
#include "moe/Analysis/AxisSet.h"
#include <memory>

namespace moe {

/// The axes over which one value may vary.
struct Variation {
  AxisSet contents;
  /// One set for each dimension of a ranked shaped value; empty for others.
  llvm::SmallVector<AxisSet, 2> dims;

  AxisSet ofDim(int64_t dim) const;
  static Variation join(const Variation &a, const Variation &b);
  bool operator==(const Variation &other) const;
  void print(llvm::raw_ostream &os) const;
};

/// The operands whose values decide which regions of `op` run and how often:
/// conditions and bounds, and conditions of branches between its blocks.
llvm::SmallVector<mlir::Value> decidingValues(mlir::Operation *op);

/// Runs the analysis on a module and answers questions about it.
class VaryingAxes {
public:
  explicit VaryingAxes(mlir::ModuleOp module);
  ~VaryingAxes();

  /// Runs to the fixpoint; fails only if the solver does.
  mlir::LogicalResult run();

  Variation of(mlir::Value value) const;
  AxisSet contentsOf(mlir::Value value) const { return of(value).contents; }
  AxisSet dimOf(mlir::Value value, int64_t dim) const;

  const AxisTable &table() const { return axisTable; }

private:
  mlir::ModuleOp module;
  AxisTable axisTable;
  std::unique_ptr<mlir::DataFlowSolver> solver;
};

} // namespace moe
#endif
