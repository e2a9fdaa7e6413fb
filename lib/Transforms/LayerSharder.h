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

/// The axes of the ranks that share the experts of one replica, ascending.
Axes replicaAxes(PlacementAttr placement);

class LayerSharder {
public:
  LayerSharder(mlir::func::FuncOp function, mlir::shard::GridOp grid,
               PlacementAttr placement);

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
  // Tokens where they are on their way: one row each, with what they chose.
  struct Batch {
    mlir::Value x, ids, weights;
    mlir::Value rows;   // index: how many
    mlir::Value counts; // rows by where they came from; null at their home
    Axes from;          // at most the tokens of all ranks over these axes
  };
  // One exchange on the way: over `axes`, each member holding `slots`.
  struct Level {
    Axes axes;
    int64_t slots;
  };
  // The slots among which a token's experts are looked for; all of them if
  // `first` is null.
  struct Window {
    mlir::Value first;
    int64_t slots;
  };

  // Boundary (ShardLayer.cpp)
  bool mayKeepReplicas();
  void enter(const TokenRows &rows);
  void leave();
  void rewrite(ExpertsOp op, SharedExpertOp shared, mlir::Operation *sum);
  void rewrite(SharedExpertOp op);

  // Dispatchers (ShardDispatch.cpp): the routed experts' result plus the shared
  // expert's, which may be null, for this rank's tokens.
  mlir::Value routed(ExpertsOp op, SharedExpertOp shared);
  bool sumsTogether(ExpertsOp op, SharedExpertOp shared);
  mlir::Value onOneRank(ExpertsOp op, Addend addend);
  mlir::Value byExchanges(ExpertsOp op, Addend addend);
  llvm::SmallVector<Level, 2> levelsOf(PlacementAttr placement);
  /// The results of a batch's experts in `window`, summed by token.
  mlir::Value exchange(ExpertsOp op, const Batch &batch, Window window,
                       llvm::ArrayRef<Level> levels, Addend addend);
  mlir::Value exchangePairs(ExpertsOp op, const Batch &batch, Window window,
                            const Level &level, Addend addend);
  mlir::Value exchangeTokens(ExpertsOp op, const Batch &batch, Window window,
                             llvm::ArrayRef<Level> levels, Addend addend);
  mlir::Value sumsOverWidth(ExpertsOp op, const Batch &batch, Window window);
  /// Of this rank's slots and part of the experts' width.
  mlir::Value partialSums(ExpertsOp op, const Batch &batch, Window window,
                          Addend addend);
  /// `partner`, or null: a shared expert whose partial sums are added up with
  /// those of the routed experts.
  mlir::Value byAllGather(ExpertsOp op, Addend addend, SharedExpertOp partner);
  Sorted sort(ExpertsOp op, mlir::Value ids, Window window, int64_t group = 1);
  mlir::Value take(mlir::Value rows, mlir::Value order, mlir::Value count,
                   int64_t topK, mlir::Value weights = {});
  mlir::Value countsOf(mlir::Value offsets, int64_t members, int64_t bins);
  mlir::Value firstSlot(llvm::ArrayRef<int64_t> axes, int64_t slots);
  mlir::Value combine(ExpertsOp op, mlir::Value rows, mlir::Value positions,
                      mlir::Value weights, Addend addend);

  // Shared expert (ShardShared.cpp)
  Addend sharedExpert(SharedExpertOp op);
  /// Of all tokens of a group, before anything is added up.
  Addend sharedPartialSums(SharedExpertOp op, const Batch &all);
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
  mlir::Value gatherTokens(mlir::Value value, llvm::ArrayRef<int64_t> axes,
                           llvm::StringRef payload = "rows");
  mlir::Value scaled(mlir::Value rows, int64_t factor);

  mlir::func::FuncOp function;
  mlir::shard::GridOp grid;
  mlir::FlatSymbolRefAttr gridName;
  mlir::ImplicitLocOpBuilder builder;
  Axes allAxes;
  Axes sameTokens; // ranks that differ on these alone hold equal tokens at the
                   // boundary
  bool attentionSaysSo = false;
  bool keepsReplicas = false; // and inside: no rank takes a share of them
  mlir::Value tokens;         // index: this rank's number of tokens
  mlir::Value localCount;     // tensor<1xi32> of it
  llvm::DenseMap<mlir::Attribute, Gathered> gatheredCounts;
  llvm::DenseMap<std::pair<mlir::Value, mlir::Attribute>, mlir::Value>
      gatheredTokens;
};

} // namespace moe
#endif
