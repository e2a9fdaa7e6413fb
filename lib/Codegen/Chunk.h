// Eight bf16, 16 bytes: what one thread moves at a time.
#ifndef MOE_LIB_CODEGEN_CHUNK_H
#define MOE_LIB_CODEGEN_CHUNK_H

#include "moe/Codegen/DeviceBuilder.h"

namespace moe::chunk {

inline constexpr int64_t elements = 8;

/// The chunk as a vector of four words; the address is a multiple of 16.
mlir::Value load(DeviceBuilder &b, mlir::Value address);
void store(DeviceBuilder &b, mlir::Value words, mlir::Value address);
/// Its elements as f32, and back, rounded to nearest.
llvm::SmallVector<mlir::Value> toFloats(DeviceBuilder &b, mlir::Value words);
mlir::Value fromFloats(DeviceBuilder &b, llvm::ArrayRef<mlir::Value> floats);

/// `base` + row * columns bf16 elements + chunk number `chunk`.
mlir::Value at(DeviceBuilder &b, mlir::Value base, mlir::Value row,
               int64_t columns, mlir::Value chunk);

/// A chunk in e4m3, two words, and the scale that its 128 columns share:
/// sixteen neighbours, all of them here, find it together.
struct Quantized {
  mlir::Value codes, scale;
};
Quantized quantize(DeviceBuilder &b, mlir::Value words);

/// One bf16 or f32 element as f32, and back.
mlir::Value loadFloat(DeviceBuilder &b, mlir::Value address, bool isF32);
void storeFloat(DeviceBuilder &b, mlir::Value value, mlir::Value address,
                bool isF32);

} // namespace moe::chunk

#endif
