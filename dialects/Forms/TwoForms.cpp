#include "dialects/Forms/TwoForms.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"

using namespace mlir;
using namespace moe;

LogicalResult moe::verifyTwoForms(Operation *op, ValueRange outs,
                                  unsigned count) {
  bool buffers = !outs.empty();
  if (buffers ? (op->getNumResults() != 0 || outs.size() != count)
              : op->getNumResults() != count)
    return op->emitOpError()
           << "has " << op->getNumResults() << " results and " << outs.size()
           << " outs, but either " << count << " results (on tensors) or "
           << count << " outs (on memrefs) are expected";
  for (Value operand : op->getOperands()) {
    if (buffers ? isa<TensorType>(operand.getType())
                : isa<BaseMemRefType>(operand.getType()))
      return op->emitOpError()
             << "has an operand of type " << operand.getType() << ", but "
             << (buffers ? "memrefs are expected with outs"
                         : "tensors are expected without outs");
  }
  return success();
}

LogicalResult moe::verifyFirstSegments(Operation *op, unsigned count) {
  auto sizes = op->getAttrOfType<DenseI32ArrayAttr>("operandSegmentSizes");
  for (int32_t size : sizes.asArrayRef().take_front(count))
    if (size != 1)
      return op->emitOpError()
             << "has operands in segments of " << sizes
             << ", but one in each of the first " << count << " is expected";
  return success();
}

SmallVector<Type> moe::resultTypes(Operation *op, ValueRange outs) {
  return llvm::to_vector(outs.empty() ? TypeRange(op->getResultTypes())
                                      : TypeRange(outs));
}

void moe::twoFormEffects(
    Operation *op, ValueRange outs,
    SmallVectorImpl<MemoryEffects::EffectInstance> &effects,
    SideEffects::Resource *resource) {
  if (resource) {
    effects.emplace_back(MemoryEffects::Read::get(), resource);
    effects.emplace_back(MemoryEffects::Write::get(), resource);
  }
  unsigned firstOut = op->getNumOperands() - outs.size();
  for (OpOperand &operand : op->getOpOperands()) {
    if (!isa<BaseMemRefType>(operand.get().getType()))
      continue;
    if (operand.getOperandNumber() < firstOut)
      effects.emplace_back(MemoryEffects::Read::get(), &operand);
    else
      effects.emplace_back(MemoryEffects::Write::get(), &operand);
  }
}

OpFoldResult moe::dimOf(OpBuilder &builder, Location loc, Value source,
                        int64_t index) {
  auto type = cast<ShapedType>(source.getType());
  if (!type.isDynamicDim(index))
    return builder.getIndexAttr(type.getDimSize(index));
  if (isa<MemRefType>(type))
    return memref::DimOp::create(builder, loc, source, index).getResult();
  return tensor::DimOp::create(builder, loc, source, index).getResult();
}

LogicalResult
moe::bufferizeTwoForms(Operation *op, RewriterBase &rewriter,
                       const bufferization::BufferizationOptions &options,
                       bufferization::BufferizationState &state) {
  Location loc = op->getLoc();
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPoint(op);
  ReifiedRankedShapedTypeDims shapes;
  if (failed(cast<ReifyRankedShapedTypeOpInterface>(op).reifyResultShapes(
          rewriter, shapes)))
    return op->emitOpError("result shapes cannot be computed");
  SmallVector<Value> operands;
  for (Value operand : op->getOperands()) {
    if (!isa<TensorType>(operand.getType())) {
      operands.push_back(operand);
      continue;
    }
    FailureOr<Value> buffer =
        bufferization::getBuffer(rewriter, operand, options, state);
    if (failed(buffer))
      return failure();
    operands.push_back(*buffer);
  }
  SmallVector<Value> outs;
  for (auto [result, shape] : llvm::zip(op->getResults(), shapes)) {
    auto tensorType = cast<RankedTensorType>(result.getType());
    SmallVector<Value> dynamic;
    for (auto [index, size] : llvm::enumerate(shape))
      if (tensorType.isDynamicDim(index))
        dynamic.push_back(getValueOrCreateConstantIndexOp(rewriter, loc, size));
    auto type =
        MemRefType::get(tensorType.getShape(), tensorType.getElementType());
    FailureOr<Value> buffer = options.createAlloc(rewriter, loc, type, dynamic);
    if (failed(buffer))
      return failure();
    outs.push_back(*buffer);
  }
  llvm::append_range(operands, outs);

  NamedAttrList attributes(op->getAttrDictionary());
  if (auto segments = dyn_cast_or_null<DenseI32ArrayAttr>(
          attributes.get("operandSegmentSizes"))) {
    SmallVector<int32_t> sizes(segments.asArrayRef());
    sizes.back() = outs.size();
    attributes.set("operandSegmentSizes", rewriter.getDenseI32ArrayAttr(sizes));
  }
  OperationState newOp(loc, op->getName());
  newOp.addOperands(operands);
  newOp.addAttributes(attributes);
  rewriter.create(newOp);
  bufferization::replaceOpWithBufferizedValues(rewriter, op, outs);
  return success();
}
