#include "RowVectors.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "moe/Conversion/TeamLoops.h"
#include "moe/Conversion/VectorMath.h"

using namespace mlir;
using namespace moe;

void moe::forColumns(ImplicitLocOpBuilder &b, int64_t width, int64_t lanes,
                     function_ref<void(Value, int64_t)> body) {
  int64_t done = 0;
  for (int64_t elements : {4 * lanes, lanes, int64_t(1)}) {
    int64_t end = done + (width - done) / elements * elements;
    if (end == done)
      continue;
    team::forLoop(
        b, team::constant(b, done), team::constant(b, end), elements,
        [&](ImplicitLocOpBuilder &, Value column) { body(column, elements); });
    done = end;
  }
}

Value moe::loadRow(ImplicitLocOpBuilder &b, Value buffer, Value row,
                   Value column, int64_t elements) {
  Type element = cast<MemRefType>(buffer.getType()).getElementType();
  return vector::LoadOp::create(b, VectorType::get(elements, element), buffer,
                                ValueRange{row, column});
}

Value moe::loadRowF32(ImplicitLocOpBuilder &b, Value buffer, Value row,
                      Value column, int64_t elements) {
  Value value = loadRow(b, buffer, row, column, elements);
  if (getElementTypeOrSelf(value.getType()).isF16())
    return arith::ExtFOp::create(b, VectorType::get(elements, b.getF32Type()),
                                 value);
  return toF32(b, value);
}

void moe::storeRowF32(ImplicitLocOpBuilder &b, Value value, Value buffer,
                      Value row, Value column) {
  Type element = cast<MemRefType>(buffer.getType()).getElementType();
  auto type = cast<VectorType>(value.getType());
  Value rounded = element.isF16()
                      ? arith::TruncFOp::create(b, type.clone(element), value)
                      : fromF32(b, value, element);
  vector::StoreOp::create(b, rounded, buffer, ValueRange{row, column});
}

Value moe::broadcastF32(ImplicitLocOpBuilder &b, Value scalar,
                        int64_t elements) {
  return vector::BroadcastOp::create(
      b, VectorType::get(elements, b.getF32Type()), scalar);
}
