// Turns one function from the single-device program into one rank's program;
// used by ShardLayer.cpp alone.
//
// Every value with one row per token becomes this rank's rows of it; rank r of
// n holds share r (see coll.share). Row-wise operations stay as they are. What
// follows is straight-line code, so collectives stand in the same order on all
// ranks.
#ifndef MOE_TRANSFORMS_LAYERSHARDER_H
#define MOE_TRANSFORMS_LAYERSHARDER_H

#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "moe/Analysis/PlacementRules.h"
#include "moe/Analysis/TokenRows.h"
#include "llvm/ADT/MapVector.h"

namespace moe {

using Axes = llvm::SmallVector<int64_t, 3>;

/// What one rank holds of a weight argument.
struct WeightShare {
  SliceAttr slice;
  mlir::RankedTensorType type;
  mlir::Attribute checkpoint; // moe.weight; null for a weight that hand-written
                              // IR does not name
};

/// Plans the shares of all weights of a function without changing it.
class WeightPlanner {
public:
  WeightPlanner(mlir::func::FuncOp function, mlir::shard::GridOp grid)
      : function(function), grid(grid) {}

  mlir::LogicalResult plan();
  void apply();

private:
  struct Cut {
    llvm::SmallVector<mlir::Attribute> splits;
    mlir::DenseI32ArrayAttr slots;
    mlir::DenseI64ArrayAttr firstOnly;
    bool addGroup = false; // a leading dimension of size 1: the one group of a
                           // grouped product
  };
  mlir::LogicalResult planExperts(ExpertsOp op);
  mlir::LogicalResult planShared(SharedExpertOp op);
  mlir::LogicalResult add(mlir::Operation *op, llvm::StringRef name,
                          mlir::Value weight, const Cut &cut);
  WeightShare shareOf(mlir::BlockArgument argument, const Cut &cut);

  mlir::func::FuncOp function;
  mlir::shard::GridOp grid;
  llvm::MapVector<mlir::BlockArgument, WeightShare> shares;
};

/// The axes over which a split shared expert is cut: all, without replicas'
/// axes of size 1, so that its groups are those of the routed experts where
/// they can be.
Axes sharedAxes(PlacementAttr placement, mlir::shard::GridOp grid);

class LayerSharder {
public:
  LayerSharder(mlir::func::FuncOp function, mlir::shard::GridOp grid,
               Boundary boundary);

  /// Rewrites the function; its weights have their local types already.
  void run(const TokenRows &rows);

private:
  // What a layer adds to the routed experts' result: `value`, times `gate` per
  // token when there is one.
  struct Addend {
    mlir::Value value, gate;
  };
  // Local counts of every member of a group, and their sum.
  struct Gathered {
    mlir::Value counts, rows;
  };
  struct Sorted {
    mlir::Value order, positions, offsets;
  };

  // Boundary (ShardLayer.cpp)
  void enter(const TokenRows &rows);
  void leave();
  void rewrite(ExpertsOp op, SharedExpertOp shared, mlir::Operation *sum);
  void rewrite(SharedExpertOp op);

  // Dispatchers (ShardDispatch.cpp): the routed experts' result plus the shared
  // expert's, which may be null, for this rank's tokens.
  mlir::Value routed(ExpertsOp op, SharedExpertOp shared);
  bool sumsTogether(ExpertsOp op, SharedExpertOp shared);
  mlir::Value onOneRank(ExpertsOp op, Addend addend);
  mlir::Value byAllToAll(ExpertsOp op, Addend addend);
  /// `partner`, or null: a shared expert whose partial sums are added up with
  /// those of the routed experts.
  mlir::Value byAllGather(ExpertsOp op, Addend addend, SharedExpertOp partner);
  Sorted sort(ExpertsOp op, mlir::Value ids, mlir::Value first, int64_t window);
  mlir::Value combine(ExpertsOp op, mlir::Value rows, mlir::Value positions,
                      mlir::Value weights, Addend addend);

  // Shared expert (ShardShared.cpp)
  Addend sharedExpert(SharedExpertOp op);
  /// Of all tokens of the group over `axes`, before anything is added up.
  Addend sharedPartialSums(SharedExpertOp op, llvm::ArrayRef<int64_t> axes);
  mlir::Value sharedGate(SharedExpertOp op, mlir::Value x);
  mlir::Value sharedProducts(SharedExpertOp op, mlir::Value x,
                             mlir::Value rows);

  // Groups
  int64_t sizeOf(llvm::ArrayRef<int64_t> axes) {
    return coll::groupSize(grid, axes);
  }
  mlir::DenseI64ArrayAttr attr(llvm::ArrayRef<int64_t> axes) {
    return builder.getDenseI64ArrayAttr(axes);
  }
  /// Rows that the group's tokens can come to at `perToken` rows each, as a
  /// function of the maximum of tokens over all ranks.
  mlir::AffineMapAttr bound(llvm::ArrayRef<int64_t> axes, int64_t perToken);
  mlir::Value rowsOf(mlir::Value counts, llvm::ArrayRef<int64_t> axes,
                     int64_t perToken);
  Gathered gatherTokenCounts(llvm::ArrayRef<int64_t> axes);
  /// Rows of the whole group, in member order. Asked for again, the same value.
  mlir::Value gatherTokens(mlir::Value value, llvm::ArrayRef<int64_t> axes);
  mlir::Value scaled(mlir::Value rows, int64_t factor);

  mlir::func::FuncOp function;
  mlir::shard::GridOp grid;
  mlir::FlatSymbolRefAttr gridName;
  Boundary boundary;
  mlir::ImplicitLocOpBuilder builder;
  Axes allAxes;
  mlir::Value tokens;     // index: this rank's number of tokens
  mlir::Value localCount; // tensor<1xi32> of it
  llvm::DenseMap<mlir::Attribute, Gathered> gatheredCounts;
  llvm::DenseMap<std::pair<mlir::Value, mlir::Attribute>, mlir::Value>
      gatheredTokens;
};

} // namespace moe
#endif
