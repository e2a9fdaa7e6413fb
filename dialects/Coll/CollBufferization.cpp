#include "dialects/Coll/CollDialect.h"
#include "dialects/Forms/TwoForms.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"

using namespace mlir;
using namespace moe;
using namespace moe::coll;

namespace {

// Ops that read a tensor and have no tensor result: only the operand becomes a
// buffer.
template <typename OpTy>
struct ReadOnlyBufferization
    : bufferization::BufferizableOpInterface::ExternalModel<
          ReadOnlyBufferization<OpTy>, OpTy> {
  bool bufferizesToMemoryRead(Operation *, OpOperand &,
                              const bufferization::AnalysisState &) const {
    return true;
  }
  bool bufferizesToMemoryWrite(Operation *, OpOperand &,
                               const bufferization::AnalysisState &) const {
    return false;
  }
  bufferization::AliasingValueList
  getAliasingValues(Operation *, OpOperand &,
                    const bufferization::AnalysisState &) const {
    return {};
  }
  LogicalResult bufferize(Operation *op, RewriterBase &rewriter,
                          const bufferization::BufferizationOptions &options,
                          bufferization::BufferizationState &state) const {
    for (OpOperand &operand : op->getOpOperands()) {
      if (!isa<TensorType>(operand.get().getType()))
        continue;
      FailureOr<Value> buffer =
          bufferization::getBuffer(rewriter, operand.get(), options, state);
      if (failed(buffer))
        return failure();
      rewriter.modifyOpInPlace(op, [&] { operand.set(*buffer); });
    }
    return success();
  }
};

} // namespace

void moe::coll::registerBufferizableOpInterfaceExternalModels(
    DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, CollDialect *) {
    AllReduceOp::attachInterface<TwoFormsBufferization<AllReduceOp>>(*context);
    AllGatherOp::attachInterface<TwoFormsBufferization<AllGatherOp>>(*context);
    ReduceScatterOp::attachInterface<TwoFormsBufferization<ReduceScatterOp>>(
        *context);
    AllToAllOp::attachInterface<TwoFormsBufferization<AllToAllOp>>(*context);
    AllGatherVOp::attachInterface<TwoFormsBufferization<AllGatherVOp>>(
        *context);
    ReduceScatterVOp::attachInterface<TwoFormsBufferization<ReduceScatterVOp>>(
        *context);
    AllToAllVOp::attachInterface<TwoFormsBufferization<AllToAllVOp>>(*context);
    ShareOp::attachInterface<TwoFormsBufferization<ShareOp>>(*context);
    RecvOp::attachInterface<TwoFormsBufferization<RecvOp>>(*context);
    RowsOp::attachInterface<ReadOnlyBufferization<RowsOp>>(*context);
    SendOp::attachInterface<ReadOnlyBufferization<SendOp>>(*context);
  });
}
