// How many rows the values of a sharded program hold, on every member of an
// expert group: the ranks that differ on ep.
#ifndef MOE_ANALYSIS_LAYERROWS_H
#define MOE_ANALYSIS_LAYERROWS_H

#include "dialects/Coll/CollDialect.h"
#include "moe/Analysis/LayerSimulator.h"
#include "moe/Analysis/Work.h"

namespace moe {

using PerMember = std::vector<double>;

/// One draw of the routing, followed through a straight block.
class LayerRows : public RowCounts {
public:
  /// `met` keeps shares of tokens, by experts of a bin, for other draws.
  LayerRows(mlir::func::FuncOp function, const LayerRun &run, uint64_t seed,
            std::map<int64_t, double> &met);

  /// Rows of the arguments.
  void enter();
  /// Rows of the operation's results; refuses what it does not know.
  mlir::LogicalResult follow(mlir::Operation *op);

  /// Of the member that is asked for at the time.
  double rowsOf(mlir::Value value) const override {
    return rows.lookup(value)[member];
  }
  llvm::ArrayRef<double> groupsOf(mlir::Value offsets) const override;

protected:
  /// Rows of each of the blocks that `counts` stand in.
  llvm::ArrayRef<double> blocksOf(mlir::Value counts, int64_t member,
                                  int64_t blocks);
  /// Whether each peer gets, or sends, as much as every other.
  bool isEven(mlir::Value counts);
  PerMember same(double value) const { return PerMember(members, value); }

  mlir::func::FuncOp function;
  const LayerRun &run;
  mlir::shard::GridOp grid;
  int64_t members = 1, member = 0, hidden = 1;
  std::vector<double> loads; // of each slot, for all tokens of a replica
  llvm::DenseMap<mlir::Value, PerMember> rows;

private:
  // What counts or offsets count: the pairs of `tokens` tokens with the experts
  // in `window` slots, the aligned ones around a member's own; a token counts
  // once for each `bin` slots. Or tokens themselves.
  struct Counted {
    double tokens = 0;
    int64_t window = 0;
    int64_t bin = 1;
    int64_t parts = 1; // more: blocks are what so many members have, all alike
    bool tokensThemselves = false;
  };

  void drawLoads(uint64_t seed);
  // By value: a table that grows moves what it holds.
  void sameRows(mlir::Value result, mlir::Value like) {
    PerMember held = rows.lookup(like);
    rows[result] = std::move(held);
  }
  void sameCounts(mlir::Value result, mlir::Value like) {
    Counted counted = counts.lookup(like);
    counts[result] = counted;
  }
  // Rows that `counted` comes to, for each member.
  PerMember sumOf(const Counted &counted);
  // Share of a replica's tokens with an expert in each `bin` slots.
  llvm::ArrayRef<double> hitsOf(int64_t bin);
  // Tokens among which those of a value were chosen.
  double universeOf(mlir::Value value) {
    auto found = universe.find(value);
    return found == universe.end() ? rows[value][0] : found->second;
  }

  std::map<int64_t, double> &met;
  GroupLimit limit;
  int64_t replicas = 1, slots = 1, topK = 1, experts = 1;
  std::map<int64_t, std::vector<double>> hits; // by bin
  std::map<std::tuple<const void *, int64_t, int64_t>, std::vector<double>>
      blockRows; // by counts, first slot and number of blocks
  llvm::DenseMap<mlir::Value, Counted> counts;
  llvm::DenseMap<mlir::Value, double> universe;
  mutable std::vector<double> scaledLoads;
};

} // namespace moe
#endif
