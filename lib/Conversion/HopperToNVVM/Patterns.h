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
/// Ops on accumulators, fragments and the schedule.
void populateTilePatterns(const mlir::TypeConverter &converter,
                          mlir::RewritePatternSet &patterns);

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
