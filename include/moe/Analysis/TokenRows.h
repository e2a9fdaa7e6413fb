// Which tensors of a layer's function have one row per token, so that a rank
// can hold the rows of its own tokens.
#ifndef MOE_ANALYSIS_TOKENROWS_H
#define MOE_ANALYSIS_TOKENROWS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseSet.h"

namespace moe {

class TokenRows {
public:
  /// Classifies the values of a function of one block. Arguments with a dynamic
  /// first dimension have a row per token, all other tensors are weights.
  /// Refused, with a message: operations that mix rows of different tokens,
  /// results without rows, control flow.
  static mlir::FailureOr<TokenRows> compute(mlir::func::FuncOp function);

  bool contains(mlir::Value value) const { return rows.contains(value); }

private:
  mlir::LogicalResult classifyArguments(mlir::func::FuncOp function);
  mlir::LogicalResult visit(mlir::Operation *op);
  mlir::LogicalResult expectRows(mlir::Operation *op, llvm::StringRef name,
                                 mlir::Value value, bool expected);
  mlir::LogicalResult visitElementwise(mlir::Operation *op);
  mlir::LogicalResult visitStructured(mlir::Operation *op);

  llvm::DenseSet<mlir::Value> rows;   // one row per token
  llvm::DenseSet<mlir::Value> counts; // index: the number of tokens
};

} // namespace moe
#endif
