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
/// The schedule of tiles.
void populateSchedulePatterns(const mlir::TypeConverter &converter,
                              mlir::RewritePatternSet &patterns);

/// The registers of a converted accumulator, fragment or slice.
llvm::SmallVector<mlir::Value> unpackRegisters(DeviceBuilder &b,
                                               mlir::Value registers);

/// Position mod stages.
inline mlir::Value getStage(DeviceBuilder &b, hopper::RingType ring,
                            mlir::Value position) {
  return b.rem(position, ring.getStages());
}

/// Orders this thread's ordinary writes to shared memory before later TMA and
/// wgmma reads.
void createAsyncProxyFence(DeviceBuilder &b);

} // namespace moe

#endif
