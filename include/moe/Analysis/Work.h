// What one rank does when it runs an operation: the one source of cost, asked
// by the simulator and by every bound.
#ifndef MOE_ANALYSIS_WORK_H
#define MOE_ANALYSIS_WORK_H

#include "mlir/IR/OpDefinition.h"
#include "llvm/ADT/ArrayRef.h"

namespace moe {

/// How many rows the values of a program hold on one rank.
class RowCounts {
public:
  virtual ~RowCounts() = default;
  /// Rows of a tensor, or the value of an index.
  virtual double rowsOf(mlir::Value value) const = 0;
  /// Rows of each group that `offsets` bounds.
  virtual llvm::ArrayRef<double> groupsOf(mlir::Value offsets) const = 0;
};

enum class WorkKind { Route, Permute, Product, Bookkeeping };

/// Work of one operation. A product of groups is described by its sizes, from
/// which a machine's tiles follow; everything else by bytes.
struct Work {
  WorkKind kind = WorkKind::Bookkeeping;
  double flops = 0;
  double weightBytes = 0;           // as stored, scales and biases included
  int weightBits = 0;               // of a stored element, of products
  double activationBytes = 0;       // rows read and written
  llvm::SmallVector<double> groups; // rows of each group of a product
  int64_t columns = 0, depth = 0;   // N (all parts) and K of a product
};

} // namespace moe

#include "moe/Analysis/WorkInterface.h.inc"

namespace moe {
/// Attaches the interface to the operations of `moe` when it is loaded.
void registerWorkModels(mlir::DialectRegistry &registry);
} // namespace moe
#endif
