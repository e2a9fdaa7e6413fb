// f32 functions for device code.  MLIR's math ops would become libdevice calls;
// these use the hardware's approximations (2 ulp), far below bf16 rounding.
#ifndef MOE_CODEGEN_SCALARMATH_H
#define MOE_CODEGEN_SCALARMATH_H

#include "moe/Codegen/DeviceBuilder.h"

namespace moe {

/// e^x, subnormals flushed.
mlir::Value createExp(DeviceBuilder &b, mlir::Value x);
/// 1 / (1 + e^(-scale x)).
mlir::Value createSigmoid(DeviceBuilder &b, mlir::Value x, double scale = 1.0);
/// silu(gate) * up.
mlir::Value createSwiglu(DeviceBuilder &b, mlir::Value gate, mlir::Value up);
/// (clamp(up, -limit, limit) + 1) * g * sigmoid(alpha * g) with g = min(gate,
/// limit).
mlir::Value createClampedSwiglu(DeviceBuilder &b, mlir::Value gate,
                                mlir::Value up, double alpha, double limit);

/// Two f32 rounded to bf16 in one i32, `low` in the lower half.
mlir::Value createBF16Pair(DeviceBuilder &b, mlir::Value low, mlir::Value high);

/// Two f32 rounded to e4m3 in the low half of an i32, `low` in its lower byte;
/// what is too large becomes 448.
mlir::Value createE4M3Pair(DeviceBuilder &b, mlir::Value low, mlir::Value high);

/// The scale of elements to be stored as e4m3, and its inverse.
struct QuantizedScale {
  mlir::Value value, inverse;
};
/// `largest` holds the bits of the largest magnitude, an f32.  Magnitudes below
/// 1e-30 count as that, so that the inverse is finite; of NaN both are NaN.
QuantizedScale createQuantizedScale(DeviceBuilder &b, mlir::Value largest);

} // namespace moe

#endif
