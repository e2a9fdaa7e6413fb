// A consumer's tile with tails: products of as many tokens as the tile has,
// rounded up to a side, and the way of the sums to the output.
//
// ptxas takes most of its time for what reads accumulators, so that exists once
// and not for each side.  Then all sides must have their sums in the same
// registers, and those be defined on all paths, or it makes copies, waits for
// each product, or keeps undefined registers from the kernel's beginning on.
// So fragments of the whole tile are handed through everything: a product
// begins in what the tile before has left there, and drops it.
#ifndef MOE_LIB_CODEGEN_GROUPEDMATMULTAILS_H
#define MOE_LIB_CODEGEN_GROUPEDMATMULTAILS_H

#include "GroupedMatmulTurns.h"
#include "moe/Codegen/DeviceBuilder.h"

namespace moe {

/// The products of a tile: weights are the ring's second operand and lie on
/// wgmma's 64-row side, from `firstRow` on.
struct SidesProduct {
  const GroupedMatmulSpec &spec;
  llvm::ArrayRef<int64_t> sides;
  mlir::Value ring, firstRow;
  /// The position of the tile's first K block, how many it has, and how many
  /// tokens live.
  mlir::Value start, blocks, live;
  /// Called with each position before it is waited for.
  llvm::function_ref<void(mlir::Value)> beforeStage;
  /// With fp8: what the sums are multiplied by, and which ones of the weights.
  mlir::Value factors;
  llvm::SmallVector<mlir::Value> weightFactors;
  Turns *turns; ///< null where consumers need not take turns
};

/// Fragments of whole tiles, to begin with.
llvm::SmallVector<mlir::Value>
createHeldFragments(DeviceBuilder &b, const GroupedMatmulSpec &spec,
                    int64_t fragments);

/// The sums, in the registers of `held`; columns from the side on are as they
/// were there.  Releases all stages.
llvm::SmallVector<mlir::Value> multiplySides(DeviceBuilder &b,
                                             const SidesProduct &product,
                                             mlir::ValueRange held);

/// Where a consumer's fragments go: staging, the first column, and how many
/// rows live.
struct LiveStore {
  mlir::Value staging, column, live;
  int64_t pieceTokens;
  /// Stores the boxes in the first buffers, so many, from a column on.
  llvm::function_ref<void(int64_t boxes, mlir::Value column)> send;
};

/// Columns of a fragment that an epilogue gets: token `first` of the tile is
/// their first one.
struct Piece {
  mlir::Value values;
  int64_t fragment, first;
};

/// How many tokens a piece has.
int64_t getPieceTokens(const GroupedMatmulSpec &spec);

/// Stores `sums`, which lie one behind the other in the output, piece by piece,
/// as far as tokens live.  `epilogue` gives what is to be stored of a piece.
/// Returns fragments in the same registers, with unspecified values.
llvm::SmallVector<mlir::Value>
storeLive(DeviceBuilder &b, const LiveStore &store, mlir::ValueRange sums,
          llvm::function_ref<mlir::Value(Piece)> epilogue);

} // namespace moe

#endif
