// Each op of the moe dialect as launches; messages stand at the op. The caller
// erases it.
#ifndef MOE_LIB_CONVERSION_MOETOKERNELS_CONVERSIONS_H
#define MOE_LIB_CONVERSION_MOETOKERNELS_CONVERSIONS_H

#include "DeviceFunction.h"
#include "dialects/Moe/MoeDialect.h"
#include "moe/Codegen/GroupedMatmul.h"
#include "moe/Codegen/SelectExperts.h"

namespace moe {

using KernelOpBuilder = mlir::ImplicitLocOpBuilder;

mlir::LogicalResult convertToKernels(GroupedMatmulOp op, KernelOpBuilder &b,
                                     DeviceFunction &function);
mlir::LogicalResult convertToKernels(RouterLogitsOp op, KernelOpBuilder &b,
                                     DeviceFunction &function);
mlir::LogicalResult convertToKernels(TokenGateOp op, KernelOpBuilder &b,
                                     DeviceFunction &function);
mlir::LogicalResult convertToKernels(SelectExpertsOp op, KernelOpBuilder &b,
                                     DeviceFunction &function);
mlir::LogicalResult convertToKernels(SortOp op, KernelOpBuilder &b,
                                     DeviceFunction &function);
mlir::LogicalResult convertToKernels(TakeOp op, KernelOpBuilder &b,
                                     DeviceFunction &function);
mlir::LogicalResult convertToKernels(CountsOp op, KernelOpBuilder &b,
                                     DeviceFunction &function);
mlir::LogicalResult convertToKernels(RegroupOp op, KernelOpBuilder &b,
                                     DeviceFunction &function);
mlir::LogicalResult convertToKernels(CombineOp op, KernelOpBuilder &b,
                                     DeviceFunction &function);

/// A product whose rows, one a token, are stored where they belong, times the
/// tokens' weights where there are any, by kernels that do that; `combine` does
/// it for the others.  The rows are `order`'s pairs, which are tokens, and
/// nothing else reads them.
struct PlacedRows {
  CombineOp combine;
  mlir::Value order;
};
mlir::LogicalResult convertToKernels(GroupedMatmulOp op,
                                     const PlacedRows &placed,
                                     KernelOpBuilder &b,
                                     DeviceFunction &function);

/// A router's product and the selection from its logits, in one kernel.
mlir::LogicalResult convertToKernels(RouterLogitsOp logits,
                                     SelectExpertsOp select, KernelOpBuilder &b,
                                     DeviceFunction &function);

/// The ops from the sort to the combined output of experts that are all on this
/// rank.
struct WholeLayer {
  SortOp sort;
  GroupedMatmulOp up, down;
  CombineOp combine;
  bool isOneKernel = false; ///< which can compute it for a single token
  bool isPlaced = false;    ///< rows can be stored where they belong
};
/// The layer that begins with `sort`, if it is one of these.
std::optional<WholeLayer> matchWholeLayer(SortOp sort,
                                          DeviceFunction &function);
/// One kernel where there are few tokens, if there is one, the ops' own kernels
/// else.
mlir::LogicalResult convertToKernels(const WholeLayer &layer,
                                     KernelOpBuilder &b,
                                     DeviceFunction &function);

/// The epilogue of an activation; none if no kernel has it.
struct EpilogueChoice {
  GroupedEpilogue kind = GroupedEpilogue::None;
  double alpha = 1.702, limit = 7.0;
};
std::optional<EpilogueChoice> chooseEpilogue(ActivationAttr activation);
std::string spellEpilogue(GroupedEpilogue kind, double alpha, double limit);

/// Whether the weights are e4m3 in blocks of 128 x 128.
bool hasFp8Weights(GroupedMatmulOp op);

/// What the weight and the bias of a grouped matmul are packed to.
PackRowsSpec packedWeightForm(GroupedMatmulOp op);
PackRowsSpec packedBiasForm(GroupedMatmulOp op);

/// What a selection from logits computes; fails, with a message, where no
/// kernel does.
mlir::FailureOr<SelectExpertsSpec> readSelection(SelectExpertsOp op);
/// What the bias of logits is packed to.
PackRowsSpec logitBiasForm(RouterLogitsOp op);

/// Sets the first words of an i32 buffer to index values.
mlir::LogicalResult launchSetWords(mlir::Operation *op, KernelOpBuilder &b,
                                   DeviceFunction &function, mlir::Value target,
                                   mlir::ValueRange words);

/// Moves `rows` rows of `columns` bf16 by an index, as MoveRowsSpec says.
struct RowMove {
  mlir::Value from, index, weights, to, rows;
  int64_t columns = 0, divisor = 1;
  bool scatter = false;
};
mlir::LogicalResult launchMove(mlir::Operation *op, KernelOpBuilder &b,
                               DeviceFunction &function, const RowMove &move);

/// The same to e4m3 with scales; the index may be missing, and there are
/// neither weights nor a scatter.
mlir::LogicalResult launchQuantize(mlir::Operation *op, KernelOpBuilder &b,
                                   DeviceFunction &function,
                                   const RowMove &move, const QuantizedRows &to,
                                   mlir::Value offsets = {},
                                   int64_t groups = 0);

/// Adds the kernels that sum what ranks bring, if the function's collectives
/// need any.
void addSumKernels(mlir::func::FuncOp function, KernelTable &table);

//===----------------------------------------------------------------------===//
// Small helpers of the conversions
//===----------------------------------------------------------------------===//

mlir::Value constantIndex(KernelOpBuilder &b, int64_t value);
/// Rows of a buffer.
mlir::Value rowCount(KernelOpBuilder &b, mlir::Value buffer);
mlir::Value timesFactor(KernelOpBuilder &b, mlir::Value rows, int64_t factor);
/// Fails, with a message, unless the elements are bf16.
mlir::LogicalResult expectBF16(mlir::Operation *op, llvm::StringRef what,
                               mlir::Value buffer);

} // namespace moe

#endif
