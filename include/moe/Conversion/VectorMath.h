// Functions on vectors of f32, as arithmetic without library calls. Each takes
// and returns vector<Nxf32> (or bf16, where it says so).
#ifndef MOE_CONVERSION_VECTORMATH_H
#define MOE_CONVERSION_VECTORMATH_H

#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace moe {

/// A vector of `like`'s type with `value` in each lane.
mlir::Value splatF32(mlir::ImplicitLocOpBuilder &b, mlir::Value like,
                     float value);

/// e^x within 2 ulp, gradual underflow included; 0 for -inf, +inf beyond the
/// range, NaN for NaN.
mlir::Value expF32(mlir::ImplicitLocOpBuilder &b, mlir::Value x);

/// 1 / (1 + e^-x).
mlir::Value sigmoidF32(mlir::ImplicitLocOpBuilder &b, mlir::Value x);

/// erfc(x) / 2 for any x, the normal distribution's tail, with small relative
/// error in the tail.
mlir::Value halfErfcF32(mlir::ImplicitLocOpBuilder &b, mlir::Value x);

/// x where x is in [low, high] or NaN, else the nearer bound.
mlir::Value clampF32(mlir::ImplicitLocOpBuilder &b, mlir::Value x, float low,
                     float high);

/// Exact widening of bf16, vector or scalar; f32 stays as it is.
mlir::Value toF32(mlir::ImplicitLocOpBuilder &b, mlir::Value x);

/// Rounding of f32 to a bf16 `element`, vector or scalar, to nearest and ties
/// to even, NaN stays a (quiet) NaN; nothing for an f32 one.
mlir::Value fromF32(mlir::ImplicitLocOpBuilder &b, mlir::Value x,
                    mlir::Type element);

} // namespace moe
#endif
