// Sets of mesh axes, for analyses that ask over which axes something differs
// between ranks.
#ifndef MOE_ANALYSIS_AXISSET_H
#define MOE_ANALYSIS_AXISSET_H

#include "mlir/Dialect/Shard/IR/ShardOps.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SmallVector.h"
#include <string>

namespace moe {

/// A set of axes, each named by its number in an `AxisTable`.
class AxisSet {
public:
  bool empty() const { return ids.empty(); }
  llvm::ArrayRef<unsigned> members() const { return ids; }
  bool contains(unsigned id) const;
  void insert(unsigned id);

  AxisSet &operator|=(const AxisSet &other);
  AxisSet operator|(const AxisSet &other) const;
  AxisSet operator&(const AxisSet &other) const;
  AxisSet operator-(const AxisSet &other) const;
  bool operator==(const AxisSet &other) const { return ids == other.ids; }
  bool operator!=(const AxisSet &other) const { return ids != other.ids; }

private:
  llvm::SmallVector<unsigned, 4> ids; // ascending
};

/// Numbers the axes of all grids below an operation. Axes of one member are
/// left out of every set: nothing varies over them.
class AxisTable {
public:
  explicit AxisTable(mlir::Operation *top);

  /// The axes `axes` of `grid`.
  AxisSet axes(mlir::shard::GridOp grid, llvm::ArrayRef<int64_t> axes) const;
  /// All axes of `grid`: its ranks may differ in any way.
  AxisSet all(mlir::shard::GridOp grid) const;
  /// All axes of all grids.
  AxisSet all() const;

  llvm::ArrayRef<mlir::shard::GridOp> grids() const { return order; }
  mlir::shard::GridOp gridOf(unsigned id) const { return entries[id].grid; }

  /// Names for a diagnostic: "`ep`, `etp`"; "no axis" for the empty set.
  std::string names(const AxisSet &set) const;

private:
  struct Entry {
    mlir::shard::GridOp grid;
    int64_t axis;
  };
  llvm::SmallVector<Entry> entries;
  llvm::SmallVector<mlir::shard::GridOp> order;
  llvm::DenseMap<mlir::Operation *, unsigned> firstOf;
};

} // namespace moe
#endif
