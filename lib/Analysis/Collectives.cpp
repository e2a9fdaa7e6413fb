#include "moe/Analysis/Collectives.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

using namespace mlir;
using namespace moe;

bool moe::isReadByHost(OpOperand &use) {
  Value value = use.get();
  return llvm::TypeSwitch<Operation *, bool>(use.getOwner())
      .Case<coll::RowsOp, coll::AllGatherVOp, coll::ReduceScatterVOp>(
          [&](auto op) { return op.getCounts() == value; })
      .Case([&](coll::AllToAllVOp op) {
        return op.getSendCounts() == value || op.getRecvCounts() == value;
      })
      .Default([](Operation *) { return false; });
}

Value moe::withoutReshapes(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (!isa<tensor::CastOp, tensor::ExpandShapeOp, tensor::CollapseShapeOp>(
            op))
      break;
    value = op->getOperand(0);
  }
  return value;
}

namespace {

/// A value, or one dimension of it.
struct Question {
  Value value;
  int64_t dim = -1;
  bool operator==(const Question &other) const {
    return value == other.value && dim == other.dim;
  }
};

/// Walks back, one operand at a time.
class OriginWalk {
public:
  OriginWalk(const AxisSet &over, const VaryingAxes &varying)
      : over(over), varying(varying) {}

  Origin run(Question start) {
    Question at = start;
    SmallVector<Question> seen;
    while (!llvm::is_contained(seen, at)) {
      seen.push_back(at);
      std::optional<Question> before = previous(at);
      if (!before)
        break;
      bool toData = before->dim < 0 && isa<ShapedType>(before->value.getType());
      throughData |= toData && !isa<ShapedType>(at.value.getType());
      at = *before;
    }
    return {at.value, throughData};
  }

private:
  bool varies(Question question) {
    AxisSet set = question.dim < 0
                      ? varying.contentsOf(question.value)
                      : varying.dimOf(question.value, question.dim);
    return !(set & over).empty();
  }

  std::optional<Question> firstOf(ValueRange values) {
    for (Value value : values)
      if (varies({value}))
        return Question{value};
    return std::nullopt;
  }

  // Indices first, then shapes, then whatever varies.
  std::optional<Question> shapeSource(Operation *op, Question at) {
    if (auto empty = dyn_cast<tensor::EmptyOp>(op))
      return Question{empty.getDynamicSize(at.dim)};
    for (Value operand : op->getOperands())
      if (!isa<ShapedType>(operand.getType()) && varies({operand}))
        return Question{operand};
    for (Value operand : op->getOperands()) {
      auto shaped = dyn_cast<ShapedType>(operand.getType());
      if (!shaped || !shaped.hasRank())
        continue;
      if (at.dim < shaped.getRank() && varies({operand, at.dim}))
        return Question{operand, at.dim};
      for (int64_t dim = 0; dim < shaped.getRank(); ++dim)
        if (varies({operand, dim}))
          return Question{operand, dim};
    }
    return firstOf(op->getOperands());
  }

  std::optional<Question> fromRegions(Operation *op) {
    if (auto found = firstOf(decidingValues(op)))
      return found;
    for (Region &region : op->getRegions())
      for (Block &block : region)
        if (block.mightHaveTerminator())
          if (auto found = firstOf(block.getTerminator()->getOperands()))
            return found;
    return std::nullopt;
  }

  std::optional<Question> previous(Question at) {
    Operation *op = at.value.getDefiningOp();
    if (!op) {
      op = cast<BlockArgument>(at.value).getOwner()->getParentOp();
      if (!op || isa<FunctionOpInterface>(op))
        return std::nullopt;
      if (auto found = fromRegions(op))
        return found;
      return firstOf(op->getOperands());
    }
    // What a rank takes from others, or learns about itself, starts here.
    if (isa<coll::CollDialect, shard::ShardDialect>(op->getDialect()) &&
        !isa<coll::RowsOp>(op) && !isRowsOf(op, at))
      return std::nullopt;
    if (auto dim = dyn_cast<tensor::DimOp>(op))
      if (std::optional<int64_t> index = dim.getConstantIndex())
        return Question{dim.getSource(), *index};
    if (op->getNumRegions() != 0)
      if (auto found = fromRegions(op))
        return found;
    return at.dim >= 0 ? shapeSource(op, at) : firstOf(op->getOperands());
  }

  // The number of rows that a collective delivers is an operand of it.
  bool isRowsOf(Operation *op, Question at) {
    return at.dim >= 0 && isa<coll::Collective>(op) && shapeSource(op, at);
  }

  const AxisSet &over;
  const VaryingAxes &varying;
  bool throughData = false;
};

} // namespace

Origin moe::originOf(Value value, int64_t dim, const AxisSet &over,
                     const VaryingAxes &varying) {
  return OriginWalk(over, varying).run({value, dim});
}

void moe::noteOrigin(InFlightDiagnostic &diagnostic, const Origin &origin,
                     const AxisSet &over, const VaryingAxes &varying) {
  AxisSet shown = varying.contentsOf(origin.value) & over;
  std::string axes = varying.table().names(shown);
  if (Operation *op = origin.value.getDefiningOp()) {
    diagnostic.attachNote(op->getLoc())
        << "the difference starts at '" << op->getName()
        << "', whose result may differ over " << axes;
    return;
  }
  auto argument = cast<BlockArgument>(origin.value);
  Diagnostic &note = diagnostic.attachNote(argument.getLoc());
  note << "the difference starts at argument " << argument.getArgNumber();
  if (auto function = dyn_cast_or_null<FunctionOpInterface>(
          argument.getOwner()->getParentOp()))
    if (auto name = function.getArgAttrOfType<StringAttr>(
            argument.getArgNumber(), "moe.name"))
      note << " (`" << name.getValue() << "`)";
  note << ", which may differ over " << axes;
}
