// One forward walk over a straight block. A value has a row per token when the
// operation that makes it treats rows independently of each other and all its
// tensors with rows agree; then the operation on some of the rows computes
// these rows of the result, and splitting is sound.
#include "moe/Analysis/TokenRows.h"
#include "dialects/Moe/MoeDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moe;

static LogicalResult refuse(Operation *op, const Twine &why) {
  return op->emitError() << "'" << op->getName()
                         << "' op cannot be split over ranks: " << why;
}

LogicalResult TokenRows::classifyArguments(func::FuncOp function) {
  for (BlockArgument argument : function.getArguments()) {
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    if (!type || type.getRank() == 0)
      return mlir::emitError(function.getLoc())
             << "argument " << argument.getArgNumber() << " of `"
             << function.getSymName() << "` is " << argument.getType()
             << ", but a tensor with rows is expected";
    bool hasRows = type.isDynamicDim(0);
    if (type.getNumDynamicDims() > (hasRows ? 1 : 0))
      return mlir::emitError(function.getLoc())
             << "argument " << argument.getArgNumber() << " of `"
             << function.getSymName() << "` is " << type
             << ", but only the first dimension, the tokens, may be dynamic";
    if (hasRows && function.getArgAttr(argument.getArgNumber(), "moe.weight"))
      return mlir::emitError(function.getLoc())
             << "argument " << argument.getArgNumber() << " of `"
             << function.getSymName() << "` is a weight of type " << type
             << ", but a static shape is expected";
    if (hasRows)
      rows.insert(argument);
  }
  return success();
}

LogicalResult TokenRows::expectRows(Operation *op, StringRef name, Value value,
                                    bool expected) {
  if (!value || rows.contains(value) == expected)
    return success();
  return refuse(
      op, "`" + name +
              (expected ? "` has no row per token, but is expected to; a "
                          "dynamic first dimension marks tokens"
                        : "` has one row per token, but a weight is expected"));
}

LogicalResult TokenRows::visitElementwise(Operation *op) {
  bool any = llvm::any_of(
      op->getOperands(), [&](Value operand) { return rows.contains(operand); });
  for (Value operand : op->getOperands()) {
    if (counts.contains(operand))
      return refuse(
          op,
          "it computes with the number of tokens, which a rank does not know");
    if (any && isa<TensorType>(operand.getType()) && !rows.contains(operand))
      return refuse(op,
                    "it mixes a tensor with one row per token with another");
  }
  if (any)
    rows.insert(op->result_begin(), op->result_end());
  return success();
}

LogicalResult TokenRows::visitStructured(Operation *op) {
  auto linalgOp = cast<linalg::LinalgOp>(op);
  std::optional<unsigned> tokenLoop;
  for (OpOperand &operand : op->getOpOperands()) {
    if (!rows.contains(operand.get()))
      continue;
    auto first = dyn_cast<AffineDimExpr>(
        linalgOp.getMatchingIndexingMap(&operand).getResult(0));
    if (!first || (tokenLoop && *tokenLoop != first.getPosition()))
      return refuse(op, "its tensors do not share the loop over tokens");
    tokenLoop = first.getPosition();
  }
  if (!tokenLoop)
    return success();
  if (linalgOp.getIteratorTypesArray()[*tokenLoop] !=
      utils::IteratorType::parallel)
    return refuse(op, "it reduces over tokens");
  for (OpOperand &operand : op->getOpOperands()) {
    AffineMap map = linalgOp.getMatchingIndexingMap(&operand);
    bool hasRows = rows.contains(operand.get());
    for (AffineExpr index : map.getResults().drop_front(hasRows ? 1 : 0))
      if (index.isFunctionOfDim(*tokenLoop))
        return refuse(op, "it indexes " +
                              Twine(hasRows ? "another dimension"
                                            : "a tensor without rows") +
                              " by tokens");
  }
  if (linalgOp.hasIndexSemantics())
    return refuse(op, "it computes with loop indices");
  for (OpOperand &init : linalgOp.getDpsInitsMutable())
    if (!rows.contains(init.get()))
      return refuse(op, "its result has no row per token");
  rows.insert(op->result_begin(), op->result_end());
  return success();
}

LogicalResult TokenRows::visit(Operation *op) {
  if (auto route = dyn_cast<RouteOp>(op)) {
    rows.insert(op->result_begin(), op->result_end());
    return failure(failed(expectRows(op, "x", route.getX(), true)) ||
                   failed(expectRows(op, "weight", route.getWeight(), false)) ||
                   failed(expectRows(op, "bias", route.getBias(), false)) ||
                   failed(expectRows(op, "selection_bias",
                                     route.getSelectionBias(), false)));
  }
  if (auto experts = dyn_cast<ExpertsOp>(op)) {
    rows.insert(experts.getResult());
    return failure(
        failed(expectRows(op, "x", experts.getX(), true)) ||
        failed(expectRows(op, "ids", experts.getIds(), true)) ||
        failed(expectRows(op, "weights", experts.getWeights(), true)));
  }
  if (auto shared = dyn_cast<SharedExpertOp>(op)) {
    rows.insert(shared.getResult());
    return expectRows(op, "x", shared.getX(), true);
  }
  if (isa<func::ReturnOp>(op)) {
    for (auto [index, operand] : llvm::enumerate(op->getOperands()))
      if (failed(
              expectRows(op, ("result " + Twine(index)).str(), operand, true)))
        return failure();
    return success();
  }
  if (auto dim = dyn_cast<tensor::DimOp>(op);
      dim && rows.contains(dim.getSource())) {
    if (dim.getConstantIndex() == 0)
      counts.insert(dim.getResult());
    return dim.getConstantIndex()
               ? success()
               : refuse(op, "it asks for a dimension that is not known");
  }
  if (auto empty = dyn_cast<tensor::EmptyOp>(op)) {
    if (empty.getType().getNumDynamicDims() == 1 &&
        empty.getType().getRank() > 0 && empty.getType().isDynamicDim(0) &&
        counts.contains(empty.getDynamicSizes().front()))
      rows.insert(empty.getResult());
    return success();
  }
  if (isa<linalg::LinalgOp>(op))
    return visitStructured(op);
  if (op->hasTrait<OpTrait::ConstantLike>())
    return success();
  if (OpTrait::hasElementwiseMappableTraits(op))
    return visitElementwise(op);
  return refuse(op, "only moe layers and operations that treat each token's "
                    "row alone are expected here");
}

FailureOr<TokenRows> TokenRows::compute(func::FuncOp function) {
  if (!llvm::hasSingleElement(function.getBody()))
    return mlir::emitError(function.getLoc())
           << "`" << function.getSymName() << "` has "
           << function.getBody().getBlocks().size()
           << " blocks, but a layer of one block is expected";
  TokenRows result;
  if (failed(result.classifyArguments(function)))
    return failure();
  for (Operation &op : function.getBody().front()) {
    if (failed(result.visit(&op)))
      return failure();
    for (Value value : op.getResults())
      if (result.contains(value) &&
          !cast<ShapedType>(value.getType()).isDynamicDim(0))
        return refuse(&op, "it fixes the number of tokens, which differs "
                           "between ranks");
  }
  return result;
}
