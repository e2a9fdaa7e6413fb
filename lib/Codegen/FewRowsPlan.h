// How the work of a few-rows kernel is cut, and its shared memory.
#ifndef MOE_LIB_CODEGEN_FEWROWSPLAN_H
#define MOE_LIB_CODEGEN_FEWROWSPLAN_H

#include "moe/Codegen/FewRows.h"

namespace moe {

/// One step of a warp: 32 times 16 bytes of each of the two halves of wgmma's
/// smaller sister m16n8k16, used as 8 rows of weights against 8 columns.
///
/// With fewer than 8 tokens, `lines` of the 8 rows are weight rows and the rest
/// are further slices of K of the same rows; column s * lines + t of the other
/// operand is slice s of token t, so that the sums wanted stand on the diagonal
/// of blocks.
struct FewRowsPlan {
  int64_t lines;  ///< weight rows of a half step: 1, 2, 4 or 8
  int64_t slices; ///< of K side by side: 8 / lines
  /// Blocks of 32 elements (and slice) in a step: 1, or 2 with eight lines,
  /// whose rows would give only 64 bytes each.  Then whole lines of 128 bytes
  /// are copied and the lanes of a warp read what others have copied.
  int64_t blocks;
  int64_t block;        ///< elements of K in a step
  int64_t elementBytes; ///< of weights and of what they meet
  int64_t lineElements; ///< of K in the 64 bytes of a line: four lanes' chunks
  int64_t weightBytes;  ///< of a step: 1024 per block
  int64_t stepBytes;    ///< with two scales a lane in fp8
  int64_t tiles;        ///< of 8 tokens

  int64_t maxPairs, maxExperts;
  int64_t warps;              ///< of a CTA, beside the one that controls
  int64_t upWarps, downWarps; ///< per unit
  /// Steps of a warp for a unit of gate/up (`lines` pairs of rows).
  int64_t upSteps;
  int64_t downBlocks; ///< steps of one expert for a unit of 2 * lines columns

  /// CTAs draw their units of gate/up, all but the first two of a slot: some
  /// CTAs are nearer to memory.
  bool draws;

  int64_t stages;
  /// Rows of x (first phase) and of h (second phase) stand in shared memory,
  /// one after the other in the same place; else they are read where they are.
  bool xShared, hShared;
  int64_t xPitch, hPitch;             ///< bytes
  int64_t xScaleBlocks, hScaleBlocks; ///< scales of a row, in fp8
  // Byte offsets in shared memory; the ring is at 0.
  int64_t operand, partials, list, pairOf, slotOf, weights, drawn, owned,
      scalars, xScales, hScales;
  int64_t sharedBytes;
};

FewRowsPlan planFewRows(const FewRowsSpec &spec);

} // namespace moe

#endif
