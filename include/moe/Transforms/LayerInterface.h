// What argument and result attributes say of a layer's function, carried over
// bufferization into `moert.interface`.
#ifndef MOE_TRANSFORMS_LAYERINTERFACE_H
#define MOE_TRANSFORMS_LAYERINTERFACE_H

#include "dialects/Moert/MoertDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace moe {

class LayerInterface {
public:
  /// Reads the attributes of `function`, which is in the `sharded` form with
  /// inputs before weights. Emits an error where something that a caller must
  /// know is missing.
  static mlir::FailureOr<LayerInterface> collect(mlir::func::FuncOp function);

  /// Creates the interface op behind `function`, with an empty arena, and marks
  /// inputs and outputs with `moe.split`.
  void create(mlir::func::FuncOp function) const;

private:
  llvm::SmallVector<mlir::Attribute> inputs, outputs, weights;
  mlir::FlatSymbolRefAttr grid;
  mlir::DenseI32ArrayAttr slots;
  int64_t layer = 0, experts = 0, topK = 0;
};

} // namespace moe
#endif
