// Which tiles a CTA takes: by their numbers, or drawn.
#ifndef MOE_LIB_CODEGEN_GROUPEDMATMULSCHEDULE_H
#define MOE_LIB_CODEGEN_GROUPEDMATMULSCHEDULE_H

#include "GroupedMatmulSplit.h"
#include "dialects/Hopper/HopperDialect.h"

namespace moe {

/// One output tile: rows row .. end - 1 of `expert` (at most the tile's height
/// count), columns from `column` on.
struct OutputTile {
  mlir::Value expert, row, end, column;
  /// Of the products: K blocks, and with `split` the part or -1.
  mlir::Value firstBlock, blocks, part;
};

class TileSchedule {
public:
  /// `split` where tiles are drawn, `rank` of this CTA where it has a cluster.
  TileSchedule(DeviceBuilder &b, const GroupedMatmulSpec &spec,
               const GroupedMatmulPlan &plan, mlir::Value offsets,
               SplitWork *split, mlir::Value shared, mlir::Value rank);

  hopper::NextTileOp find(mlir::Value number, mlir::Value expert,
                          mlir::Value first);
  /// Calls `body` with each tile of this CTA and the ring position where it
  /// begins; gives the position after the last.
  mlir::Value forEach(llvm::function_ref<void(OutputTile, mlir::Value)> body);

private:
  mlir::Value
  forEachTicket(llvm::function_ref<void(OutputTile, mlir::Value)> body);
  OutputTile ownPart(OutputTile tile);

  DeviceBuilder &b;
  const GroupedMatmulSpec &spec;
  const GroupedMatmulPlan &plan;
  mlir::Value offsets;
  SplitWork *split;
  mlir::Value shared, rank;
  int64_t kBlocks;
};

} // namespace moe

#endif
