// Weights as checkpoints store them: plain numbers, or quantised elements
// beside the scales of their blocks.
#ifndef MOE_LIB_CONVERSION_MOETOVECTOR_STOREDWEIGHT_H
#define MOE_LIB_CONVERSION_MOETOVECTOR_STOREDWEIGHT_H

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace moe {

/// Whether elements of this type need scales.
bool isQuantized(mlir::Type element);

/// The buffer that holds a weight of `type` in memory: bytes where it is
/// quantised, two elements of four bits to each.
mlir::MemRefType storedType(mlir::MemRefType type);

/// A weight of shape [.., columns, depth] in flat buffers; `matrix` counts the
/// dimensions in front.
struct StoredWeight {
  mlir::Type element;
  int64_t columns, depth;
  mlir::Value data, scales; // `scales` is null for plain elements

  /// Element [matrix, column, k] as it stands, or, where it is quantised, its
  /// value in f32.
  mlir::Value load(mlir::ImplicitLocOpBuilder &b, mlir::Value matrix,
                   mlir::Value column, mlir::Value k) const;
};

} // namespace moe
#endif
