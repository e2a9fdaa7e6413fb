// Work that CTAs draw: whole tiles first, then the last tiles in slices of K.
#ifndef MOE_LIB_CODEGEN_GROUPEDMATMULSPLIT_H
#define MOE_LIB_CODEGEN_GROUPEDMATMULSPLIT_H

#include "GroupedMatmulPlan.h"
#include "moe/Codegen/DeviceBuilder.h"

namespace moe {

/// What `split` may be combined with.
mlir::LogicalResult
verifySplit(const GroupedMatmulSpec &spec,
            llvm::function_ref<mlir::InFlightDiagnostic()> emitError);

/// K blocks of a piece of work.
struct KRange {
  mlir::Value first, count;
};

/// Of T tiles the first T - splitTiles are a ticket each, the others `split`
/// tickets, a slice of K each.  A ticket's part is the number of its slice
/// among those of all cut tiles, or -1 for a whole tile.  As many tickets are
/// drawn as there are: who draws the last one sets the counter back.
class SplitWork {
public:
  /// `state` and `parts` are the kernel's parameters.
  SplitWork(DeviceBuilder &b, const GroupedMatmulSpec &spec, mlir::Value state,
            mlir::Value parts);

  /// Counts tiles; all lanes of a warp that draws.
  void count(mlir::Value offsets);
  mlir::Value getTile(mlir::Value ticket);
  mlir::Value getPart(mlir::Value ticket);
  /// Draws, by the first thread.
  mlir::Value draw();
  /// The ticket that was drawn.  Gathering threads learn it from `word` in
  /// shared memory, which has to be another one the next time: a fast thread
  /// writes before a slow one has read.
  mlir::Value take(mlir::Value drawn, mlir::Value word);

  KRange getBlocks(mlir::Value part);
  /// The live rows and the part in one number that is not negative, and back.
  mlir::Value encode(mlir::Value live, mlir::Value part);
  std::pair<mlir::Value, mlir::Value> decode(mlir::Value code);

  /// Where `part` is a slice, leaves the sums of one consumer to the last of
  /// its tile.  True for who has to finish the tile.
  mlir::Value leave(mlir::Value sums, mlir::Value part, mlir::Value consumer);
  /// The sums of the tile: those given where it is whole.
  mlir::Value gather(mlir::Value sums, mlir::Value part, mlir::Value consumer);

private:
  mlir::Value isLeader() { return b.equal(b.threadId(), 0); }
  mlir::Value finishDraw(mlir::Value drawn);
  mlir::Value getCell(mlir::Value part, mlir::Value consumer);

  DeviceBuilder &b;
  const GroupedMatmulSpec &spec;
  mlir::Value state, parts;
  mlir::Value whole, tickets; ///< whole tiles; all pieces of work
  int64_t kBlocks;
};

} // namespace moe

#endif
