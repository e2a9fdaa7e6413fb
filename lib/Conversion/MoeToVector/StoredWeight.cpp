#include "StoredWeight.h"
#include "Team.h"
#include "dialects/Moe/MoeDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace moe;

bool moe::isQuantized(Type element) {
  return isa<Float8E4M3FNType, Float4E2M1FNType>(element);
}

MemRefType moe::storedType(MemRefType type) {
  if (!isQuantized(type.getElementType()))
    return type;
  int64_t bytes = type.getNumElements() * type.getElementTypeBitWidth() / 8;
  return MemRefType::get({bytes}, IntegerType::get(type.getContext(), 8));
}

static Value i32(ImplicitLocOpBuilder &b, int32_t value) {
  return arith::ConstantOp::create(b, b.getI32IntegerAttr(value));
}

static Value asF32(ImplicitLocOpBuilder &b, Value bits) {
  return arith::BitcastOp::create(b, b.getF32Type(), bits);
}

// A small float whose magnitude stands in the low bits of `code`, below its
// sign: the magnitude's exponent and fraction are put where f32 has them, and
// the difference of the biases is a factor, which is exact, subnormals
// included.
static Value smallFloat(ImplicitLocOpBuilder &b, Value code, int fractionBits,
                        int signBit, int bias) {
  Value magnitude = arith::AndIOp::create(b, code, i32(b, (1 << signBit) - 1));
  Value sign = arith::ShLIOp::create(
      b, arith::AndIOp::create(b, code, i32(b, 1 << signBit)).getResult(),
      i32(b, 31 - signBit));
  Value shifted =
      arith::ShLIOp::create(b, magnitude, i32(b, 23 - fractionBits));
  Value factor = arith::ConstantOp::create(
      b, b.getF32FloatAttr(std::ldexp(1.0f, 127 - bias)));
  Value value = arith::MulFOp::create(b, asF32(b, shifted), factor);
  return asF32(
      b, arith::OrIOp::create(
             b, arith::BitcastOp::create(b, b.getI32Type(), value).getResult(),
             sign));
}

static Value loadByte(ImplicitLocOpBuilder &b, Value buffer, Value at) {
  Value byte = memref::LoadOp::create(b, buffer, at);
  return arith::ExtUIOp::create(b, b.getI32Type(), byte);
}

// Bias 7, three bits of fraction; all ones is NaN, there is no infinity.
static Value loadE4M3(ImplicitLocOpBuilder &b, Value data, Value at) {
  Value code = loadByte(b, data, at);
  Value isNan = arith::CmpIOp::create(
      b, arith::CmpIPredicate::eq, arith::AndIOp::create(b, code, i32(b, 0x7f)),
      i32(b, 0x7f));
  return arith::SelectOp::create(b, isNan, asF32(b, i32(b, 0x7fc00000)),
                                 smallFloat(b, code, 3, 7, 7));
}

// Bias 1, one bit of fraction; the even element is the low half of its byte.
static Value loadE2M1(ImplicitLocOpBuilder &b, Value data, Value at) {
  Value two = indexConstant(b, 2);
  Value byte = loadByte(b, data, arith::DivUIOp::create(b, at, two));
  Value half = arith::IndexCastOp::create(b, b.getI32Type(),
                                          arith::RemUIOp::create(b, at, two));
  Value code = arith::AndIOp::create(
      b,
      arith::ShRUIOp::create(b, byte, arith::ShLIOp::create(b, half, i32(b, 2)))
          .getResult(),
      i32(b, 0xf));
  return smallFloat(b, code, 1, 3, 1);
}

// 2^(e - 127), of which 0 is a subnormal and 255 stands for NaN.
static Value loadE8M0(ImplicitLocOpBuilder &b, Value data, Value at) {
  Value code = loadByte(b, data, at);
  auto is = [&](int32_t value) {
    return arith::CmpIOp::create(b, arith::CmpIPredicate::eq, code,
                                 i32(b, value));
  };
  Value bits = arith::ShLIOp::create(b, code, i32(b, 23));
  bits = arith::SelectOp::create(b, is(0), i32(b, 0x00400000), bits);
  bits = arith::SelectOp::create(b, is(255), i32(b, 0x7fc00000), bits);
  return asF32(b, bits);
}

Value StoredWeight::load(ImplicitLocOpBuilder &b, Value matrix, Value column,
                         Value k) const {
  Value row = indexAdd(b, indexMul(b, matrix, columns), column);
  Value at = indexAdd(b, indexMul(b, row, depth), k);
  if (!isQuantized(element))
    return memref::LoadOp::create(b, data, at);
  if (isa<Float4E2M1FNType>(element)) {
    Value block =
        arith::DivUIOp::create(b, k, indexConstant(b, mxfp4BlockSize));
    Value scale =
        loadE8M0(b, scales,
                 indexAdd(b, indexMul(b, row, depth / mxfp4BlockSize), block));
    return arith::MulFOp::create(b, loadE2M1(b, data, at), scale);
  }
  Value size = indexConstant(b, fp8BlockSize);
  Value blockRow =
      indexAdd(b, indexMul(b, matrix, llvm::divideCeil(columns, fp8BlockSize)),
               arith::DivUIOp::create(b, column, size));
  Value scale = memref::LoadOp::create(
      b, scales,
      indexAdd(b, indexMul(b, blockRow, llvm::divideCeil(depth, fp8BlockSize)),
               arith::DivUIOp::create(b, k, size)));
  return arith::MulFOp::create(b, loadE4M3(b, data, at), scale);
}
