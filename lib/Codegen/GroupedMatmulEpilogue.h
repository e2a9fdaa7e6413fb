// What is applied to the sums of a fragment.
#ifndef MOE_LIB_CODEGEN_GROUPEDMATMULEPILOGUE_H
#define MOE_LIB_CODEGEN_GROUPEDMATMULEPILOGUE_H

#include "dialects/Hopper/HopperDialect.h"
#include "moe/Codegen/DeviceBuilder.h"
#include "moe/Codegen/GroupedMatmul.h"

namespace moe {

/// Bias (null without), pairing, row weight, in this order; `loadWeights` gives
/// the weights of the fragment's tokens.
mlir::Value
createEpilogue(DeviceBuilder &b, const GroupedMatmulSpec &spec,
               mlir::Value values, mlir::Value bias,
               llvm::function_ref<mlir::Value(hopper::SliceType)> loadWeights);

} // namespace moe

#endif
