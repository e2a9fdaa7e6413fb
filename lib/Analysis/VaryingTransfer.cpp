#include "VaryingTransfer.h"
#include "dialects/Coll/CollDialect.h"
#include "dialects/Moe/MoeDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Interfaces/DestinationStyleOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Transforms/RegionUtils.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moe;

Variation moe::fitted(Variation variation, Type type) {
  auto shaped = dyn_cast<ShapedType>(type);
  if (!shaped || !shaped.hasRank()) {
    variation.dims.clear();
    return variation;
  }
  variation.dims.resize(shaped.getRank());
  for (auto [index, dim] : llvm::enumerate(variation.dims)) {
    if (!shaped.isDynamicDim(index))
      dim = AxisSet();
    variation.contents |= dim;
  }
  return variation;
}

Variation moe::varyingOver(const AxisSet &axes, Type type) {
  Variation result;
  result.contents = axes;
  if (auto shaped = dyn_cast<ShapedType>(type))
    if (shaped.hasRank())
      result.dims.assign(shaped.getRank(), axes);
  return fitted(result, type);
}

namespace {

/// The transfer functions, with the question "what does this value vary over".
class Transfer {
public:
  Transfer(Operation *op, const TransferContext &context)
      : op(op), context(context) {}

  SmallVector<Variation> run();

private:
  const AxisSet &contents(Value value) { return context.of(value).contents; }
  AxisSet dim(Value value, int64_t index) {
    return context.of(value).ofDim(index);
  }
  AxisSet size(OpFoldResult size) {
    auto value = dyn_cast<Value>(size);
    return value ? contents(value) : AxisSet();
  }

  /// Everything that can reach a result through the operands, through values
  /// that the regions capture, and through what the regions yield.
  AxisSet inputs();
  AxisSet groupOf(FlatSymbolRefAttr grid, ArrayRef<int64_t> axes);
  /// `over` without the axes of a group whose members all hold the same.
  AxisSet agreed(const AxisSet &over, FlatSymbolRefAttr grid,
                 ArrayRef<int64_t> axes);

  /// The dimensions of result `index`, for operations whose shapes are known
  /// here; none where every dynamic dimension may depend on every input.
  std::optional<SmallVector<AxisSet, 2>> shapeOf(unsigned index);
  std::optional<SmallVector<AxisSet, 2>> moeShape(unsigned index);
  std::optional<SmallVector<AxisSet, 2>> collShape();
  std::optional<SmallVector<AxisSet, 2>> tensorShape();
  std::optional<AxisSet> collContents();
  SmallVector<AxisSet, 2> rowsThen(AxisSet rows, Value like);
  SmallVector<AxisSet, 2> sameAs(Value like);

  Operation *op;
  const TransferContext &context;
};

} // namespace

AxisSet Transfer::inputs() {
  AxisSet result;
  for (Value operand : op->getOperands())
    result |= contents(operand);
  for (Region &region : op->getRegions()) {
    llvm::SetVector<Value> captured;
    getUsedValuesDefinedAbove(region, captured);
    for (Value value : captured)
      result |= contents(value);
    for (Block &block : region)
      if (block.mightHaveTerminator())
        for (Value yielded : block.getTerminator()->getOperands())
          result |= contents(yielded);
  }
  return result;
}

AxisSet Transfer::groupOf(FlatSymbolRefAttr grid, ArrayRef<int64_t> axes) {
  return context.table.axes(coll::lookupGrid(op, grid), axes);
}

AxisSet Transfer::agreed(const AxisSet &over, FlatSymbolRefAttr name,
                         ArrayRef<int64_t> axes) {
  shard::GridOp grid = coll::lookupGrid(op, name);
  AxisSet group = context.table.axes(grid, axes);
  // A group of all ranks leaves nothing to vary, over any grid of these ranks.
  return group == context.table.all(grid) ? AxisSet() : over - group;
}

SmallVector<AxisSet, 2> Transfer::sameAs(Value like) {
  // A value that has not been reached yet has no sets: it does not vary.
  SmallVector<AxisSet, 2> dims = context.of(like).dims;
  dims.resize(cast<ShapedType>(like.getType()).getRank());
  return dims;
}

SmallVector<AxisSet, 2> Transfer::rowsThen(AxisSet rows, Value like) {
  SmallVector<AxisSet, 2> dims = sameAs(like);
  dims[0] = rows;
  return dims;
}

//===----------------------------------------------------------------------===//
// moe: the shape tables of the operations
//===----------------------------------------------------------------------===//

std::optional<SmallVector<AxisSet, 2>> Transfer::moeShape(unsigned index) {
  using Dims = std::optional<SmallVector<AxisSet, 2>>;
  auto rows = [](AxisSet set) { return Dims({set, AxisSet()}); };
  return llvm::TypeSwitch<Operation *, Dims>(op)
      .Case<RouteOp, ExpertsOp, SharedExpertOp, RouterLogitsOp, SelectExpertsOp,
            TokenGateOp>([&](auto) { // [T, ...] from operand 0
        SmallVector<AxisSet, 2> dims = sameAs(op->getOperand(0));
        return Dims({dims[0], dims[1]});
      })
      .Case([&](SortOp sort) { return rows(dim(sort.getIds(), 0)); })
      .Case([&](TakeOp take) {
        return Dims({contents(take.getRows()), dim(take.getX(), 1)});
      })
      .Case(
          [&](RegroupOp regroup) { return rows(contents(regroup.getRows())); })
      .Case([&](GroupedMatmulOp matmul) {
        return rows(contents(matmul.getRows()));
      })
      .Case([&](CombineOp combine) {
        Value tokens = combine.getPositions();
        return Dims({dim(tokens ? tokens : Value(combine.getRows()), 0),
                     dim(combine.getRows(), 1)});
      })
      .Default([](Operation *) { return Dims(); });
}

//===----------------------------------------------------------------------===//
// coll: who holds what after a collective
//===----------------------------------------------------------------------===//

std::optional<SmallVector<AxisSet, 2>> Transfer::collShape() {
  using Dims = std::optional<SmallVector<AxisSet, 2>>;
  return llvm::TypeSwitch<Operation *, Dims>(op)
      .Case<coll::AllReduceOp, coll::AllToAllOp>(
          [&](auto same) { return Dims(sameAs(same.getSource())); })
      .Case([&](coll::AllGatherOp gather) {
        SmallVector<AxisSet, 2> dims = sameAs(gather.getSource());
        dims.insert(dims.begin(), AxisSet());
        return Dims(dims);
      })
      .Case([&](coll::ReduceScatterOp scatter) {
        SmallVector<AxisSet, 2> dims = sameAs(scatter.getSource());
        dims.erase(dims.begin());
        return Dims(dims);
      })
      .Case<coll::AllGatherVOp, coll::ReduceScatterVOp, coll::AllToAllVOp>(
          [&](auto ragged) {
            return Dims(
                rowsThen(contents(ragged.getRows()), ragged.getSource()));
          })
      .Case([&](coll::ShareOp share) {
        return Dims(rowsThen(dim(share.getSource(), 0) |
                                 groupOf(share.getGridAttr(), share.getAxes()),
                             share.getSource()));
      })
      .Default([](Operation *) { return Dims(); });
}

std::optional<AxisSet> Transfer::collContents() {
  using Set = std::optional<AxisSet>;
  return llvm::TypeSwitch<Operation *, Set>(op)
      .Case([&](coll::IndexOp index) {
        return groupOf(index.getGridAttr(), index.getAxes());
      })
      .Case<coll::AllReduceOp, coll::AllGatherOp>([&](auto same) {
        return agreed(inputs(), same.getGridAttr(), same.getAxes());
      })
      .Case([&](coll::AllGatherVOp gather) {
        // Counts and rows are each rank's own word: what varies in them still
        // does afterwards.
        return agreed(contents(gather.getSource()), gather.getGridAttr(),
                      gather.getAxes()) |
               contents(gather.getCounts()) | contents(gather.getRows());
      })
      .Case<coll::ReduceScatterOp, coll::AllToAllOp, coll::ReduceScatterVOp,
            coll::AllToAllVOp, coll::ShareOp>([&](auto own) {
        return inputs() | groupOf(own.getGridAttr(), own.getAxes());
      })
      .Case([&](coll::RecvOp) { return context.everything; })
      .Case([&](coll::RowsOp rows) { return contents(rows.getCounts()); })
      .Case([&](shard::ProcessLinearIndexOp index) {
        return context.table.all(coll::lookupGrid(op, index.getGridAttr()));
      })
      .Case([&](shard::ProcessMultiIndexOp index) {
        shard::GridOp grid = coll::lookupGrid(op, index.getGridAttr());
        SmallVector<int64_t> axes(index.getAxes().begin(),
                                  index.getAxes().end());
        return axes.empty() ? context.table.all(grid)
                            : context.table.axes(grid, axes);
      })
      .Case([&](shard::GridShapeOp) { return AxisSet(); })
      .Default([](Operation *) { return Set(); });
}

//===----------------------------------------------------------------------===//
// tensor, arith and destination-style operations
//===----------------------------------------------------------------------===//

std::optional<SmallVector<AxisSet, 2>> Transfer::tensorShape() {
  using Dims = std::optional<SmallVector<AxisSet, 2>>;
  return llvm::TypeSwitch<Operation *, Dims>(op)
      .Case<tensor::CastOp, tensor::InsertOp>([&](Operation *cast) {
        return Dims(sameAs(isa<tensor::InsertOp>(cast) ? cast->getOperand(1)
                                                       : cast->getOperand(0)));
      })
      .Case([&](tensor::InsertSliceOp insert) {
        return Dims(sameAs(insert.getDest()));
      })
      .Case<tensor::EmptyOp, tensor::ExpandShapeOp>([&](auto shaped) {
        SmallVector<AxisSet, 2> dims;
        SmallVector<OpFoldResult> sizes;
        if constexpr (std::is_same_v<decltype(shaped), tensor::EmptyOp>)
          sizes = shaped.getMixedSizes();
        else
          sizes = shaped.getMixedOutputShape();
        for (OpFoldResult extent : sizes)
          dims.push_back(size(extent));
        return Dims(dims);
      })
      .Case([&](tensor::CollapseShapeOp collapse) {
        SmallVector<AxisSet, 2> dims;
        for (const ReassociationIndices &group :
             collapse.getReassociationIndices()) {
          AxisSet set;
          for (int64_t index : group)
            set |= dim(collapse.getSrc(), index);
          dims.push_back(set);
        }
        return Dims(dims);
      })
      .Case([&](tensor::ExtractSliceOp slice) {
        // Dropped unit dimensions are static: the kept sizes stay in order.
        SmallVector<AxisSet, 2> dims;
        llvm::SmallBitVector dropped = slice.getDroppedDims();
        for (auto [index, extent] : llvm::enumerate(slice.getMixedSizes()))
          if (!dropped.test(index))
            dims.push_back(size(extent));
        return Dims(dims);
      })
      .Default([](Operation *) { return Dims(); });
}

std::optional<SmallVector<AxisSet, 2>> Transfer::shapeOf(unsigned index) {
  if (auto dims = moeShape(index))
    return dims;
  if (auto dims = collShape())
    return dims;
  if (auto dims = tensorShape())
    return dims;
  OpResult result = op->getResult(index);
  if (auto styled = dyn_cast<DestinationStyleOpInterface>(op))
    if (OpOperand *init = styled.getTiedOpOperand(result))
      return sameAs(init->get());
  if (op->hasTrait<OpTrait::Elementwise>()) {
    // Operand shapes agree, except that a scalar may choose between two tensors
    // of different shapes.
    SmallVector<AxisSet, 2> dims(cast<ShapedType>(result.getType()).getRank());
    for (Value operand : op->getOperands())
      for (auto [position, set] : llvm::enumerate(dims))
        set |= isa<ShapedType>(operand.getType()) ? dim(operand, position)
                                                  : contents(operand);
    return dims;
  }
  return std::nullopt;
}

SmallVector<Variation> Transfer::run() {
  AxisSet over;
  if (std::optional<AxisSet> known = collContents()) {
    over = *known;
  } else if (auto dimOp = dyn_cast<tensor::DimOp>(op)) {
    over = contents(dimOp.getIndex());
    if (std::optional<int64_t> index = dimOp.getConstantIndex())
      over |= dim(dimOp.getSource(), *index);
    else
      for (const AxisSet &set : context.of(dimOp.getSource()).dims)
        over |= set;
  } else {
    // What is read from memory may be anything.
    over = isMemoryEffectFree(op) ? inputs() : context.everything;
  }
  SmallVector<Variation> results;
  for (OpResult result : op->getResults()) {
    Variation variation = varyingOver(over, result.getType());
    auto shaped = dyn_cast<ShapedType>(result.getType());
    if (shaped && shaped.hasRank() && !shaped.hasStaticShape())
      if (auto dims = shapeOf(result.getResultNumber()))
        variation.dims = *dims;
    results.push_back(fitted(variation, result.getType()));
  }
  return results;
}

SmallVector<Variation> moe::transfer(Operation *op,
                                     const TransferContext &context) {
  return Transfer(op, context).run();
}
