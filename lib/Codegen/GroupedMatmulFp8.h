// Products of operands in e4m3 with block scales.
#ifndef MOE_LIB_CODEGEN_GROUPEDMATMULFP8_H
#define MOE_LIB_CODEGEN_GROUPEDMATMULFP8_H

#include "GroupedMatmulTurns.h"
#include "moe/Codegen/DeviceBuilder.h"

namespace moe {

/// Rows, or columns, that share a scale.
constexpr int64_t scaleBlock = 128;

/// What `fp8` and its companions may be combined with.
mlir::LogicalResult
verifyScaled(const GroupedMatmulSpec &spec,
             llvm::function_ref<mlir::InFlightDiagnostic()> emitError);

/// The part of the kernel that all tiles share.
struct ScaledProduct {
  const GroupedMatmulSpec &spec;
  mlir::Value ring;
  mlir::Value xScale, scaleRows, wScale; // parameters of the kernel
  llvm::function_ref<void(mlir::Value)> beforeStage;
  Turns *turns; ///< null where consumers need not take turns
};

/// The fragment of one consumer: its first token and how many there are, its
/// first weight row within the expert, the first of the 64 rows in the ring,
/// and the ring's position.
struct ScaledTile {
  mlir::Value expert, token, live, weightRow, firstRow, start;
};

/// The scaled products of all K blocks, as a fragment.
mlir::Value multiplyScaled(DeviceBuilder &b, const ScaledProduct &product,
                           const ScaledTile &tile);

} // namespace moe

#endif
