// What brings sums of e4m3 products from the units of one block of k to those
// of the next.  Where tokens are columns of the product a thread meets many of
// their scales, so threads that have nothing else to do make the factors, once
// for all, beside each stage.
#ifndef MOE_LIB_CODEGEN_GROUPEDMATMULFACTORS_H
#define MOE_LIB_CODEGEN_GROUPEDMATMULFACTORS_H

#include "GroupedMatmulSchedule.h"

namespace moe {

/// Whether factors stand beside the stages.
inline bool hasFactors(const GroupedMatmulSpec &spec) {
  return spec.fp8 && spec.tails;
}

/// Threads of the producer's warpgroup that make factors: all where all gather,
/// else those of the warps that ask for nothing.
inline int64_t getFactorThreads(const GroupedMatmulSpec &spec) {
  return spec.gather ? 128 : 96;
}

/// Blocks of weight rows with a scale of their own in a tile.
inline int64_t getWeightFactors(const GroupedMatmulSpec &spec) {
  return spec.isPaired() ? 2 : llvm::divideCeil(spec.tileWeights, int64_t(128));
}

/// The kernel's parameters that hold scales; `index` is null where rows are in
/// order.
struct ScaleParameters {
  mlir::Value x, rows, w, index;
};

/// One thread's part of the factors of a tile.
class TileFactors {
public:
  TileFactors(DeviceBuilder &b, const GroupedMatmulSpec &spec,
              const ScaleParameters &scales, OutputTile tile);

  /// What is carried from block to block of the tile.
  llvm::SmallVector<mlir::Value> begin();
  /// Asks for scales of later blocks.
  llvm::SmallVector<mlir::Value> ask(mlir::Value block);
  /// Writes the factors of a block; gives what is carried to the next one.
  /// `asked` is what `ask` gave for this block.
  llvm::SmallVector<mlir::Value> write(mlir::Value factors,
                                       mlir::Value position, mlir::Value block,
                                       mlir::ValueRange carried,
                                       mlir::ValueRange asked);

private:
  /// A token of the tile, or a block of its weight rows.
  struct Entry {
    mlir::Value number, base, stride;
  };
  mlir::Value load(const Entry &entry, mlir::Value block);

  DeviceBuilder &b;
  const GroupedMatmulSpec &spec;
  int64_t kBlocks;
  llvm::SmallVector<Entry> entries;
};

} // namespace moe

#endif
