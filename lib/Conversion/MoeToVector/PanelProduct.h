// Products of rows with packed weights: the loops around the kernels, shared by
// moe.grouped_matmul and moe.router_logits.
#ifndef MOE_LIB_CONVERSION_MOETOVECTOR_PANELPRODUCT_H
#define MOE_LIB_CONVERSION_MOETOVECTOR_PANELPRODUCT_H

#include "dialects/Moe/MoeDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/PatternMatch.h"
#include "moe/Conversion/CpuTile.h"

namespace moe {

/// One vector of sums, ready for what comes after the product.
struct PanelSums {
  mlir::Value row;    // index i of the row, as in the op's documentation
  mlir::Value group;  // index
  mlir::Value column; // index of the first lane's column
  mlir::Value
      mask; // vector<lanes x i1> of the columns that exist; null when all do
  mlir::SmallVector<mlir::Value, 2> parts;
};

/// Operands as in moe.grouped_matmul; null where absent.
struct PanelProduct {
  CpuTile tile;
  PanelsAttr panels;
  mlir::Value lhs, weight, rows, offsets, gather, rowWeights;
  int64_t gatherDivisor = 1;
};

/// Emits the product; `finish` emits what happens to each vector of sums.
void emitPanelProduct(mlir::ImplicitLocOpBuilder &b, mlir::ModuleOp module,
                      const PanelProduct &product,
                      llvm::function_ref<void(const PanelSums &)> finish);

/// Succeeds on an op in buffer form whose weight is packed for the tile's
/// kernels; tells the rewriter what is missing otherwise.
mlir::LogicalResult matchPanels(mlir::PatternRewriter &rewriter,
                                mlir::Operation *op, const CpuTile &tile,
                                std::optional<PanelsAttr> panels,
                                mlir::Value lhs, mlir::Value weight,
                                mlir::Value outs);

/// Loads lanes of a row of `buffer` from `column` on, and stores them; masked
/// lanes are not touched (read as 0).
mlir::Value loadColumns(mlir::ImplicitLocOpBuilder &b, mlir::Value buffer,
                        mlir::ValueRange position, mlir::Value mask,
                        int64_t lanes);
void storeColumns(mlir::ImplicitLocOpBuilder &b, mlir::Value vector,
                  mlir::Value buffer, mlir::ValueRange position,
                  mlir::Value mask);

} // namespace moe
#endif
