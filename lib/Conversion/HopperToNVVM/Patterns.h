// Shared by the pattern files of this conversion.
#ifndef MOE_LIB_CONVERSION_HOPPERTONVVM_PATTERNS_H
#define MOE_LIB_CONVERSION_HOPPERTONVVM_PATTERNS_H

#include "dialects/Hopper/FragmentLayout.h"
#include "moe/Codegen/DeviceBuilder.h"

#include "mlir/Transforms/DialectConversion.h"

namespace moe {

/// Ops on a ring.
void populateRingPatterns(const mlir::TypeConverter &converter,
                          mlir::RewritePatternSet &patterns);
/// Accumulators and fragments.
void populateTilePatterns(const mlir::TypeConverter &converter,
                          mlir::RewritePatternSet &patterns);
/// Staging and stores.
void populateStorePatterns(const mlir::TypeConverter &converter,
                           mlir::RewritePatternSet &patterns);
/// Fragments that go to the output column by column.
void populatePiecePatterns(const mlir::TypeConverter &converter,
                           mlir::RewritePatternSet &patterns);
/// Rows that are stored where they belong.
void populatePlacePatterns(const mlir::TypeConverter &converter,
                           mlir::RewritePatternSet &patterns);
/// The schedule of tiles.
void populateSchedulePatterns(const mlir::TypeConverter &converter,
                              mlir::RewritePatternSet &patterns);

/// Scaled sums and quantised stores.
void populateScalePatterns(const mlir::TypeConverter &converter,
                           mlir::RewritePatternSet &patterns);
/// Factors beside stages.
void populateFactorPatterns(const mlir::TypeConverter &converter,
                            mlir::RewritePatternSet &patterns);

/// Tiles that several CTAs share.
void populateSplitPatterns(const mlir::TypeConverter &converter,
                           mlir::RewritePatternSet &patterns);

/// Lowers an op without results.
template <typename Op, typename AdaptorType = typename Op::Adaptor>
struct EffectPattern : mlir::OpConversionPattern<Op> {
  using mlir::OpConversionPattern<Op>::OpConversionPattern;
  using Adaptor = AdaptorType;

  virtual void lower(Op op, Adaptor adaptor, DeviceBuilder &b) const = 0;

  mlir::LogicalResult
  matchAndRewrite(Op op, Adaptor adaptor,
                  mlir::ConversionPatternRewriter &rewriter) const override {
    DeviceBuilder b(op.getLoc(), rewriter);
    lower(op, adaptor, b);
    rewriter.eraseOp(op);
    return mlir::success();
  }
};
/// Lowers an op that places something at an offset in shared memory.
template <typename Op> struct PlacementPattern : mlir::OpConversionPattern<Op> {
  using mlir::OpConversionPattern<Op>::OpConversionPattern;

  mlir::LogicalResult
  matchAndRewrite(Op op, typename Op::Adaptor adaptor,
                  mlir::ConversionPatternRewriter &rewriter) const override {
    DeviceBuilder b(op.getLoc(), rewriter);
    rewriter.replaceOp(op, b.atByte(adaptor.getBase(), op.getOffset()));
    return mlir::success();
  }
};
/// As EffectPattern for an op with operands that become several values each.
template <typename Op>
using FragmentEffectPattern =
    EffectPattern<Op, typename mlir::OpConversionPattern<Op>::OneToNOpAdaptor>;

/// Position mod stages.
template <typename StagesType>
mlir::Value getStage(DeviceBuilder &b, StagesType type, mlir::Value position) {
  return b.rem(position, type.getStages());
}

/// Orders this thread's ordinary writes to shared memory before later TMA and
/// wgmma reads.
void createAsyncProxyFence(DeviceBuilder &b);

/// A coordinate of a register's element in this thread.
mlir::Value getCoordinate(DeviceBuilder &b, hopper::ThreadCoordinate at);

/// The number of this thread in its warpgroup.
mlir::Value getGroupThread(DeviceBuilder &b);
/// What a thread moves of rows of 128 bytes, 16 of them at a time: thread t has
/// column t % 8 of rows t / 8, t / 8 + rowsPerPass, ...
struct ThreadChunk {
  static constexpr int64_t rowsPerPass = 16;
  explicit ThreadChunk(DeviceBuilder &b);
  /// Its first byte in a tile with the swizzle of such rows.
  mlir::Value getSwizzled(DeviceBuilder &b) const;

  mlir::Value row, column;
};
/// Shared memory of the `consumer`-th of some warpgroups that have `bytes`
/// each, from `offset` bytes after `base` on.
mlir::Value getConsumersPart(DeviceBuilder &b, mlir::Value base, int64_t offset,
                             mlir::Value consumer, int64_t bytes);
/// The named barrier of a warpgroup, whose number in the CTA is `group`.
void createGroupBarrier(DeviceBuilder &b, mlir::Value group);
/// Whether this thread is its warpgroup's first, which deals with TMA.
mlir::Value isGroupLeader(DeviceBuilder &b);
/// Lets the leader of a warpgroup wait until at most so many of its stores are
/// still reading, and the others for the leader.
void createStagingWait(DeviceBuilder &b, mlir::Value leader, mlir::Value group,
                       int64_t pending);
/// Makes what a warpgroup has written to its buffers readable to its leader's
/// stores.
void createStagingHandover(DeviceBuilder &b, mlir::Value group);
/// Writes 8x8 matrices of two-byte elements to a box by stmatrix, `halves` for
/// each 16 bytes of columns.
void writeBox(DeviceBuilder &b, mlir::Value box, hopper::TileType tile,
              llvm::ArrayRef<mlir::Value> matrices, int64_t halves,
              bool transposed);
/// Lets the leader hand a box to TMA: one bulk group per box, empty for a box
/// without live rows, since the wait before reusing a buffer counts groups.
void storeBox(DeviceBuilder &b, mlir::Value map, mlir::Value box,
              hopper::TileType tile, mlir::Value leader, mlir::Value column,
              mlir::Value row, mlir::Value count);

} // namespace moe

#endif
