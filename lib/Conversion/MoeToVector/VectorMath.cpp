#include "moe/Conversion/VectorMath.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include <cmath>

using namespace mlir;
using namespace moe;

static Type likeWith(Type like, Type element) {
  if (auto vector = dyn_cast<VectorType>(like))
    return vector.clone(element);
  return element;
}

static Value constant(ImplicitLocOpBuilder &b, Type type, Attribute scalar) {
  TypedAttr value = cast<TypedAttr>(scalar);
  if (auto vector = dyn_cast<VectorType>(type))
    value = DenseElementsAttr::get(vector, scalar);
  return arith::ConstantOp::create(b, value);
}

static Value splatI32(ImplicitLocOpBuilder &b, Value like, int64_t value) {
  return constant(b, likeWith(like.getType(), b.getI32Type()),
                  b.getI32IntegerAttr(static_cast<int32_t>(value)));
}

Value moe::splatF32(ImplicitLocOpBuilder &b, Value like, float value) {
  return constant(b, likeWith(like.getType(), b.getF32Type()),
                  b.getF32FloatAttr(value));
}

static Value add(ImplicitLocOpBuilder &b, Value x, Value y) {
  return arith::AddFOp::create(b, x, y);
}
static Value sub(ImplicitLocOpBuilder &b, Value x, Value y) {
  return arith::SubFOp::create(b, x, y);
}
static Value mul(ImplicitLocOpBuilder &b, Value x, Value y) {
  return arith::MulFOp::create(b, x, y);
}
static Value fma(ImplicitLocOpBuilder &b, Value x, Value y, Value z) {
  return vector::FMAOp::create(b, x, y, z);
}

// Horner's rule; coefficients by descending degree.
static Value polynomial(ImplicitLocOpBuilder &b, Value x,
                        ArrayRef<float> coefficients) {
  Value sum = splatF32(b, x, coefficients.front());
  for (float coefficient : coefficients.drop_front())
    sum = fma(b, sum, x, splatF32(b, x, coefficient));
  return sum;
}

Value moe::clampF32(ImplicitLocOpBuilder &b, Value x, float low, float high) {
  // A comparison with NaN is false, so that NaN passes.
  Value lowest = splatF32(b, x, low), highest = splatF32(b, x, high);
  Value over = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, x, highest);
  Value capped = arith::SelectOp::create(b, over, highest, x);
  Value under =
      arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, capped, lowest);
  return arith::SelectOp::create(b, under, lowest, capped);
}

// 2^n for integers n in [-127, 128]: the exponent field alone; n = -127 gives
// 0, n = 128 infinity.
static Value powerOfTwo(ImplicitLocOpBuilder &b, Value n) {
  Value biased = arith::AddIOp::create(b, n, splatI32(b, n, 127));
  Value bits = arith::ShLIOp::create(b, biased, splatI32(b, n, 23));
  return arith::BitcastOp::create(b, likeWith(n.getType(), b.getF32Type()),
                                  bits);
}

Value moe::expF32(ImplicitLocOpBuilder &b, Value x) {
  // e^x = 2^n e^r with r = x - n ln 2, |r| <= ln 2 / 2. Beyond the bounds the
  // result is 0 or infinity in f32.
  Value bounded = clampF32(b, x, -105.0f, 89.0f);
  // Adding 1.5 * 2^23 leaves the rounded integer in the low bits of the sum.
  Value shift = splatF32(b, x, 12582912.0f);
  Value shifted =
      fma(b, bounded, splatF32(b, x, static_cast<float>(1.0 / M_LN2)), shift);
  Value n = sub(b, shifted, shift);
  // ln 2 in two parts; the first has so few bits that n times it is exact.
  constexpr double high = 0x1.62e4p-1;
  Value r = fma(b, n, splatF32(b, x, static_cast<float>(-high)), bounded);
  r = fma(b, n, splatF32(b, x, static_cast<float>(high - M_LN2)), r);
  Value series = polynomial(b, r,
                            {1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24,
                             1.0f / 6, 0.5f, 1.0f, 1.0f});
  // n reaches from -152 to 128, further than one exponent does: two factors.
  Type integers = likeWith(x.getType(), b.getI32Type());
  Value whole = arith::SubIOp::create(
      b, arith::BitcastOp::create(b, integers, shifted).getResult(),
      arith::BitcastOp::create(b, integers, shift).getResult());
  Value half = arith::ShRSIOp::create(b, whole, splatI32(b, x, 1));
  Value rest = arith::SubIOp::create(b, whole, half);
  return mul(b, mul(b, series, powerOfTwo(b, half)), powerOfTwo(b, rest));
}

Value moe::sigmoidF32(ImplicitLocOpBuilder &b, Value x) {
  Value one = splatF32(b, x, 1.0f);
  return arith::DivFOp::create(
      b, one, add(b, one, expF32(b, arith::NegFOp::create(b, x))));
}

Value moe::halfErfcF32(ImplicitLocOpBuilder &b, Value x) {
  // erfc(a) / 2 = t P(t) e^(-a^2), t = 1 / (1 + 0.4 a), for a >= 0; P fitted by
  // least squares on [0, 10.5], relative error 9e-9.
  Type bitsType = likeWith(x.getType(), b.getI32Type());
  Value bits = arith::BitcastOp::create(b, bitsType, x);
  Value magnitude = arith::AndIOp::create(b, bits, splatI32(b, x, 0x7fffffff));
  Value a = arith::BitcastOp::create(b, x.getType(), magnitude);
  Value one = splatF32(b, x, 1.0f);
  Value t = arith::DivFOp::create(b, one, fma(b, a, splatF32(b, x, 0.4f), one));
  Value tail = polynomial(b, t,
                          {-0.014319133f, 0.0964147f, -0.2433227f, 0.26562402f,
                           -0.13546994f, 0.1324411f, 0.066076875f, 0.10719563f,
                           0.1125076f, 0.112851836f});
  Value square = arith::NegFOp::create(b, mul(b, a, a));
  tail = mul(b, mul(b, tail, t), expF32(b, square));
  Value negative = arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, x,
                                         splatF32(b, x, 0.0f));
  return arith::SelectOp::create(b, negative, sub(b, one, tail), tail);
}

Value moe::toF32(ImplicitLocOpBuilder &b, Value x) {
  if (!getElementTypeOrSelf(x.getType()).isBF16())
    return x;
  Value half =
      arith::BitcastOp::create(b, likeWith(x.getType(), b.getI16Type()), x);
  Value wide =
      arith::ExtUIOp::create(b, likeWith(x.getType(), b.getI32Type()), half);
  Value bits = arith::ShLIOp::create(b, wide, splatI32(b, wide, 16));
  return arith::BitcastOp::create(b, likeWith(x.getType(), b.getF32Type()),
                                  bits);
}

Value moe::fromF32(ImplicitLocOpBuilder &b, Value x, Type element) {
  if (!element.isBF16())
    return x;
  Value bits =
      arith::BitcastOp::create(b, likeWith(x.getType(), b.getI32Type()), x);
  Value sixteen = splatI32(b, bits, 16);
  // Half a unit of the last place kept, less one where that place is even.
  Value odd = arith::AndIOp::create(
      b, arith::ShRUIOp::create(b, bits, sixteen).getResult(),
      splatI32(b, bits, 1));
  Value bias = arith::AddIOp::create(b, odd, splatI32(b, bits, 0x7fff));
  Value rounded = arith::ShRUIOp::create(
      b, arith::AddIOp::create(b, bits, bias).getResult(), sixteen);
  Value quiet = arith::OrIOp::create(
      b, arith::ShRUIOp::create(b, bits, sixteen).getResult(),
      splatI32(b, bits, 0x40));
  Value isNan = arith::CmpFOp::create(b, arith::CmpFPredicate::UNO, x, x);
  Value chosen = arith::SelectOp::create(b, isNan, quiet, rounded);
  Value half =
      arith::TruncIOp::create(b, likeWith(x.getType(), b.getI16Type()), chosen);
  return arith::BitcastOp::create(b, likeWith(x.getType(), b.getBF16Type()),
                                  half);
}
