// Shared memory and tile shapes that follow from a spec.
#ifndef MOE_LIB_CODEGEN_GROUPEDMATMULPLAN_H
#define MOE_LIB_CODEGEN_GROUPEDMATMULPLAN_H

#include "moe/Codegen/GroupedMatmul.h"

namespace moe {

/// Two consumer warpgroups split the tile's 128 rows on wgmma's 64-row side.
constexpr int64_t consumers = 2;
constexpr int64_t wgmmaRows = 64;
/// One swizzled row of bf16.
constexpr int64_t blockColumns = 64;
/// Tiles of a ring stage.
constexpr int64_t tokensTile = 0, weightsTile = 1;

struct GroupedMatmulPlan {
  int64_t stages, buffers;
  int64_t boxRows, boxColumns, boxes; ///< output boxes of one consumer's tile
  int64_t ringOffset, factorsOffset, ticketOffset, placesOffset, sharedBytes;
  int64_t placeRows; ///< with `scatter`: of one consumer
  int64_t fragments; ///< 64-row blocks of one consumer
  int64_t passTiles;
  /// Rows of x and w that one TMA load brings.
  int64_t tokensBox, weightsBox;
  /// With tails: token sides of the product, ascending, the last the tile's.
  llvm::SmallVector<int64_t> sides;
  /// Of a thread when roles have split: 128 producer + 256 consumer <= 64512.
  uint32_t producerRegisters, consumerRegisters;
};

GroupedMatmulPlan planGroupedMatmul(const GroupedMatmulSpec &spec);

} // namespace moe

#endif
