#include "Chunk.h"

#include "moe/Codegen/ScalarMath.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace moe;

Value chunk::load(DeviceBuilder &b, Value address) {
  return b.load(VectorType::get(4, b.getI32Type()), address, 16);
}

void chunk::store(DeviceBuilder &b, Value words, Value address) {
  b.store(words, address, 16);
}

SmallVector<Value> chunk::toFloats(DeviceBuilder &b, Value words) {
  SmallVector<Value> floats;
  for (int64_t i = 0; i < 4; ++i) {
    Value word = LLVM::ExtractElementOp::create(b, words, b.i32(i));
    floats.push_back(b.toFloat(b.shl(word, 16)));
    floats.push_back(b.toFloat(b.bitAnd(word, 0xFFFF0000)));
  }
  return floats;
}

Value chunk::fromFloats(DeviceBuilder &b, ArrayRef<Value> floats) {
  Value words = LLVM::UndefOp::create(b, VectorType::get(4, b.getI32Type()));
  for (int64_t i = 0; i < 4; ++i)
    words = LLVM::InsertElementOp::create(
        b, words, createBF16Pair(b, floats[2 * i], floats[2 * i + 1]),
        b.i32(i));
  return words;
}

Value chunk::at(DeviceBuilder &b, Value base, Value row, int64_t columns,
                Value chunk) {
  Value wide = arith::ExtUIOp::create(b, b.getI64Type(), row);
  Value offset = arith::MulIOp::create(b, wide, b.i64(2 * columns));
  return b.atByte(b.atByte(base, offset), b.shl(chunk, 4));
}

/// Bits of the largest magnitude among two-byte floats in words, as those of an
/// f32: the order of bf16 without signs is that of integers.
static Value largestMagnitude(DeviceBuilder &b, Value words) {
  Value most = b.i32(0);
  for (int64_t i = 0; i < 4; ++i) {
    Value word = LLVM::ExtractElementOp::create(b, words, b.i32(i));
    most = b.max(most, b.bitAnd(word, 0x7FFF0000));
    most = b.max(most, b.bitAnd(b.shl(word, 16), 0x7FFF0000));
  }
  for (int64_t distance : {1, 2, 4, 8})
    most = b.max(most, b.exchange(most, distance));
  return most;
}

chunk::Quantized chunk::quantize(DeviceBuilder &b, Value words) {
  QuantizedScale scale = createQuantizedScale(b, largestMagnitude(b, words));
  SmallVector<Value> floats = toFloats(b, words);
  Value codes = LLVM::UndefOp::create(b, VectorType::get(2, b.getI32Type()));
  auto pair = [&](int64_t first) {
    return createE4M3Pair(
        b, arith::MulFOp::create(b, floats[first], scale.inverse),
        arith::MulFOp::create(b, floats[first + 1], scale.inverse));
  };
  for (int64_t i = 0; i < 2; ++i) {
    Value word = b.bitOr(pair(4 * i), b.shl(pair(4 * i + 2), 16));
    codes = LLVM::InsertElementOp::create(b, codes, word, b.i32(i));
  }
  return {codes, scale.value};
}

Value chunk::loadFloat(DeviceBuilder &b, Value address, bool isF32) {
  if (isF32)
    return b.load(b.getF32Type(), address);
  Value bits = b.load(b.getI16Type(), address);
  return b.toFloat(b.shl(arith::ExtUIOp::create(b, b.getI32Type(), bits), 16));
}

void chunk::storeFloat(DeviceBuilder &b, Value value, Value address,
                       bool isF32) {
  if (isF32)
    return b.store(value, address);
  Value pair = createBF16Pair(b, value, value);
  b.store(arith::TruncIOp::create(b, b.getI16Type(), pair), address);
}
