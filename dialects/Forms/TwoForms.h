// The two forms of our ops: the value form on tensors (results, no `outs`) and
// the buffer form on memrefs (`outs`, no results). `outs` is always the last
// operand group of an op and has one entry per result of the value form.
#ifndef MOE_DIALECTS_FORMS_TWOFORMS_H
#define MOE_DIALECTS_FORMS_TWOFORMS_H

#include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.h"
#include "mlir/IR/Operation.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace moe {

/// Verifies that `op` is in one of its two forms with `count` results or outs.
mlir::LogicalResult verifyTwoForms(mlir::Operation *op, mlir::ValueRange outs,
                                   unsigned count);

/// Verifies that the first `count` segments of operands have one each: nobody
/// else does where a segment is neither optional nor variadic.
mlir::LogicalResult verifyFirstSegments(mlir::Operation *op, unsigned count);

/// The shaped types of an op's results in either form.
llvm::SmallVector<mlir::Type> resultTypes(mlir::Operation *op,
                                          mlir::ValueRange outs);

/// Buffer form: reads memref operands, writes outs. `resource`, when given, is
/// also written, in both forms.
void twoFormEffects(
    mlir::Operation *op, mlir::ValueRange outs,
    llvm::SmallVectorImpl<mlir::MemoryEffects::EffectInstance> &effects,
    mlir::SideEffects::Resource *resource = nullptr);

/// Dimension `index` of `source` as an index or a constant.
mlir::OpFoldResult dimOf(mlir::OpBuilder &builder, mlir::Location loc,
                         mlir::Value source, int64_t index);

/// Rewrites the value form into the buffer form with newly allocated outs.
mlir::LogicalResult
bufferizeTwoForms(mlir::Operation *op, mlir::RewriterBase &rewriter,
                  const mlir::bufferization::BufferizationOptions &options,
                  mlir::bufferization::BufferizationState &state);

/// Bufferization of an op with two forms: operands are read, results are new
/// allocations.
template <typename OpTy>
struct TwoFormsBufferization
    : mlir::bufferization::BufferizableOpInterface::ExternalModel<
          TwoFormsBufferization<OpTy>, OpTy> {
  bool bufferizesToAllocation(mlir::Operation *, mlir::Value) const {
    return true;
  }
  bool
  bufferizesToMemoryRead(mlir::Operation *, mlir::OpOperand &,
                         const mlir::bufferization::AnalysisState &) const {
    return true;
  }
  bool
  bufferizesToMemoryWrite(mlir::Operation *, mlir::OpOperand &,
                          const mlir::bufferization::AnalysisState &) const {
    return false;
  }
  mlir::bufferization::AliasingValueList
  getAliasingValues(mlir::Operation *, mlir::OpOperand &,
                    const mlir::bufferization::AnalysisState &) const {
    return {};
  }
  mlir::LogicalResult
  bufferize(mlir::Operation *op, mlir::RewriterBase &rewriter,
            const mlir::bufferization::BufferizationOptions &options,
            mlir::bufferization::BufferizationState &state) const {
    return bufferizeTwoForms(op, rewriter, options, state);
  }
};

} // namespace moe
#endif
