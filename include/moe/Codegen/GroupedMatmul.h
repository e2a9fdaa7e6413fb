// The grouped matmul kernel: one generator, its variants as parameters.
#ifndef MOE_CODEGEN_GROUPEDMATMUL_H
#define MOE_CODEGEN_GROUPEDMATMUL_H

#include "moe/Codegen/KernelModule.h"

#include "mlir/IR/Diagnostics.h"

namespace moe {

/// What is applied to the products before they are rounded and stored.
enum class GroupedEpilogue {
  None,
  /// silu(gate) * up.
  Swiglu,
  /// (clamp(up, -limit, limit) + 1) * g * sigmoid(alpha * g) with g = min(gate,
  /// limit).
  SwigluClamped
};

/// y[r] = scale[r] * epilogue(x[r] w[e]^T + bias[e]) for the rows r of expert
/// e, offsets[e] <= r < offsets[e + 1].
///
/// - x[rows][k], or x[tokens][k] with `gather`, where row r is x[index[r] /
///   gatherDivisor], or x[r] without `gatherIndex`: plain pointers then, so
///   that any x may be given at each launch
/// - w[experts * n][k]; with swiglu, blocks of 8 rows of gate and of up
///   alternate; with `blockedWeights` stored as [experts * n / 8][k /
///   64][8][64]
/// - offsets[experts + 1]: i32 on the device; the host never knows the rows
/// - scale[rows], bias[experts * n]: f32, only with `rowScale`, `bias`; bias is
///   ordered as w's rows
/// - y[rows][n], or [n / 2] with swiglu; with `scatter` a plain pointer, where
///   row r is y[places[r]], times factors[places[r]], f32, with
///   `scatterFactors`: rounded before and after, as a kernel of its own would
/// - with `split` state, getSplitStateBytes(), zero before the first launch and
///   after each, and parts, getSplitPartBytes(), which need not be kept; other
///   launches may have them once this one has ended
///
/// x, w and y are bf16; with `fp8` x and w are e4m3 with f32 scales, which an
/// element is to be multiplied by:
/// - xScale[k / 128][scaleRows]: one per row and 128 columns; scaleRows, the
/// rows
///   of x's buffer, is given at launch
/// - wScale[experts][n / 128][k / 128], or [experts][2][n / 2 / 128][k / 128]
/// of
///   gate and up with swiglu: one per block of 128 x 128; numbers of blocks are
///   rounded up
/// - tensor maps count pairs of e4m3 as one element of two bytes; blocked
/// weights
///   are [experts * n / 8][k / 128][8][128]
/// - with `quantize` y is e4m3 too and has yScale[columns / 128][scaleRows]
struct GroupedMatmulSpec {
  std::string name = "grouped_matmul";
  int64_t experts = 1;
  int64_t n = 0; ///< weight rows of one expert
  int64_t k = 0;
  /// Rows of x and of w in one CTA's tile.
  int64_t tileTokens = 128, tileWeights = 256;
  int64_t stages = 0;  ///< of the ring; 0: as many as fit, at most 12
  int64_t buffers = 0; ///< output boxes per consumer warpgroup; 0: all boxes of
                       ///< a tile, at most 4
  /// CTAs that take neighbouring parts of an expert's rows and load weights for
  /// each other: 1, or 2 with tails.
  int64_t cluster = 1;
  /// Weights take wgmma's 64-row side and tokens the other: small tiles of
  /// tokens.
  bool swap = false;
  /// A warpgroup without live rows skips its products (fewer than 256 rows per
  /// expert).
  bool skipDead = false;
  /// Only with `swap`: an expert's rows are cut into parts of equal height, at
  /// most `tileTokens`, and the product's token side is chosen per part on the
  /// device among multiples of this (0: off). `tileWeights` may be 128, 256 or
  /// 384 then.
  int64_t tails = 0;
  /// CTAs draw tiles from a counter (0: each knows its own), of which the last
  /// `splitTiles` are cut into so many slices of k (1: none is).
  int64_t split = 0, splitTiles = 128;
  /// The kernel before this one in its stream does not write `offsets`: a CTA
  /// asks for the weights of its first tile before it waits for that kernel.
  bool weightsFirst = false;
  /// Without pairs, row weights and slices of k.
  bool scatter = false;
  bool scatterFactors = false; ///< only with `scatter`
  bool gather = false, rowScale = false, bias = false;
  bool gatherIndex = true;   ///< only with `gather`
  int64_t gatherDivisor = 1; ///< only with an index
  /// Neighbours in a tile are neighbours in memory: fewer pages of DRAM at
  /// once.
  bool blockedWeights = false;
  bool fp8 = false;
  bool quantize = false; ///< only with `fp8`
  /// Only with `fp8`: the sum stays with the tensor cores, which hold fewer
  /// bits than f32, and is brought to the units of each block of k.
  bool rescale = false;
  /// Only with `rescale`: consumers begin their products in turn, so that one
  /// scales its sums while the other's products run.
  bool inTurn = false;
  GroupedEpilogue epilogue = GroupedEpilogue::None;
  double alpha = 1.702, limit = 7.0; ///< of SwigluClamped
  /// Row tiles that share a pass over the columns; 0: about 2048 rows.
  int64_t passTiles = 0;
  bool rotate = true; ///< shift the row order per column
  /// Test only: every warp role sleeps for changing times, to bring races out.
  bool jitter = false;

  bool operator==(const GroupedMatmulSpec &) const = default;
  bool isPaired() const { return epilogue != GroupedEpilogue::None; }
  int64_t getOutputColumns() const { return isPaired() ? n / 2 : n; }
  /// Elements of a swizzled row of 128 bytes.
  int64_t getBlockElements() const { return fp8 ? 128 : 64; }
};

/// Refuses what the generator does not make, with the nearest legal choice.
mlir::LogicalResult
verifyGroupedMatmul(const GroupedMatmulSpec &spec,
                    llvm::function_ref<mlir::InFlightDiagnostic()> emitError);

/// Memory that a kernel with `split` needs.
int64_t getSplitStateBytes(const GroupedMatmulSpec &spec);
int64_t getSplitPartBytes(const GroupedMatmulSpec &spec);

/// The parameters of the kernel that a verified spec gives.
KernelInterface getGroupedMatmulInterface(const GroupedMatmulSpec &spec);

/// Adds the kernel to `module`, in hopper ops.  The spec must verify.
mlir::LLVM::LLVMFuncOp buildGroupedMatmul(mlir::gpu::GPUModuleOp module,
                                          const GroupedMatmulSpec &spec);

} // namespace moe

#endif
