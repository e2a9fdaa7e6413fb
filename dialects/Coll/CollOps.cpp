#include "dialects/Coll/CollDialect.h"
#include "dialects/Forms/GridSize.h"
#include "dialects/Forms/ShapeTable.h"
#include "dialects/Forms/TwoForms.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/SmallSet.h"

using namespace mlir;
using namespace moe;
using namespace moe::coll;

#define GET_OP_CLASSES
#include "dialects/Coll/CollOps.cpp.inc"

using Effects =
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>;

template <typename OpTy> static ValueRange outsOf(OpTy op) {
  return op.getOuts() ? ValueRange(op->getOperands().take_back(1))
                      : ValueRange();
}

//===----------------------------------------------------------------------===//
// Grids and axes (C3)
//===----------------------------------------------------------------------===//

static LogicalResult verifyAxes(Operation *op, FlatSymbolRefAttr name,
                                std::optional<ArrayRef<int64_t>> axes,
                                SymbolTableCollection &symbols) {
  auto grid = symbols.lookupNearestSymbolFrom<shard::GridOp>(op, name);
  if (!grid)
    return op->emitOpError() << "names the grid `" << name.getValue()
                             << "`, but there is no `shard.grid` of that name";
  if (failed(verifyGridSize(op, grid)))
    return failure();
  if (!axes)
    return success();
  llvm::SmallSet<int64_t, 8> seen;
  for (int64_t axis : *axes) {
    if (axis < 0 || axis >= grid.getRank()) {
      InFlightDiagnostic diag = op->emitOpError()
                                << "communicates over axis " << axis
                                << ", but the grid `" << name.getValue()
                                << "` has axes 0 to " << grid.getRank() - 1;
      diag.attachNote(grid.getLoc()) << "the grid is declared here";
      return diag;
    }
    if (!seen.insert(axis).second)
      return op->emitOpError() << "names axis " << axis << " twice";
    if (ShapedType::isDynamic(grid.getShape()[axis]))
      return op->emitOpError()
             << "communicates over axis " << axis << " of `" << name.getValue()
             << "`, whose size is not known";
  }
  return success();
}

LogicalResult RowsOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyAxes(*this, getGridAttr(), std::nullopt, symbols);
}
#define VERIFY_AXES(Op)                                                        \
  LogicalResult Op::verifySymbolUses(SymbolTableCollection &symbols) {         \
    return verifyAxes(*this, getGridAttr(), getAxes(), symbols);               \
  }
VERIFY_AXES(IndexOp)
VERIFY_AXES(ShareOp)
VERIFY_AXES(SendOp)
VERIFY_AXES(RecvOp)
#undef VERIFY_AXES

// A collective's group size stands in its types as well: checked where the grid
// is known.
static LogicalResult verifyLeading(Operation *op, FlatSymbolRefAttr gridName,
                                   ArrayRef<int64_t> axes,
                                   SymbolTableCollection &symbols,
                                   StringRef what, Type type) {
  if (failed(verifyAxes(op, gridName, axes, symbols)))
    return failure();
  if (!type)
    return success();
  auto grid = symbols.lookupNearestSymbolFrom<shard::GridOp>(op, gridName);
  auto shaped = cast<ShapedType>(type);
  int64_t size = groupSize(grid, axes);
  if (shaped.getRank() < 1 ||
      (!shaped.isDynamicDim(0) && shaped.getDimSize(0) != size))
    return op->emitOpError()
           << "`" << what << "` is " << type << ", but the group over axes ["
           << axes << "] has " << size
           << " members, so its first dimension must be " << size;
  return success();
}

LogicalResult AllReduceOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyAxes(*this, getGridAttr(), getAxes(), symbols);
}
LogicalResult AllGatherOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyLeading(*this, getGridAttr(), getAxes(), symbols, "result",
                       resultTypes(*this, outsOf(*this)).front());
}
LogicalResult
ReduceScatterOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyLeading(*this, getGridAttr(), getAxes(), symbols, "source",
                       getSource().getType());
}
LogicalResult AllToAllOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyLeading(*this, getGridAttr(), getAxes(), symbols, "source",
                       getSource().getType());
}
LogicalResult AllGatherVOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyLeading(*this, getGridAttr(), getAxes(), symbols, "counts",
                       getCounts().getType());
}
LogicalResult
ReduceScatterVOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyLeading(*this, getGridAttr(), getAxes(), symbols, "counts",
                       getCounts().getType());
}
LogicalResult AllToAllVOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyLeading(*this, getGridAttr(), getAxes(), symbols, "counts",
                       getSendCounts().getType());
}

//===----------------------------------------------------------------------===//
// Shapes (C1, C2)
//===----------------------------------------------------------------------===//

static LogicalResult verifyForms(Operation *op, ValueRange outs) {
  return verifyTwoForms(op, outs, 1);
}

// Row shapes: everything behind dimension 0, and the element type.
static LogicalResult verifyRowsMatch(Operation *op, Type source, Type result) {
  auto from = cast<ShapedType>(source), to = cast<ShapedType>(result);
  if (from.getRank() < 1 || from.getRank() != to.getRank() ||
      from.getElementType() != to.getElementType() ||
      failed(verifyCompatibleShape(from.getShape().drop_front(),
                                   to.getShape().drop_front())))
    return op->emitOpError()
           << "moves rows of " << source << " into " << result
           << ", but rows of one shape and element type are expected";
  return success();
}

// (C4)
template <typename OpTy> static LogicalResult verifyPayload(OpTy op) {
  StringRef payload = op.getPayload();
  if (payload == "rows" || payload == "ids" || payload == "weights")
    return success();
  return op.emitOpError() << "moves `" << payload
                          << "`, but a payload of rows, ids or weights is "
                             "expected";
}

static LogicalResult verifyStacked(Operation *op, StringRef what, Type stacked,
                                   Type part) {
  auto whole = cast<ShapedType>(stacked), one = cast<ShapedType>(part);
  if (whole.getRank() != one.getRank() + 1 ||
      whole.getElementType() != one.getElementType() ||
      failed(
          verifyCompatibleShape(whole.getShape().drop_front(), one.getShape())))
    return op->emitOpError() << what << " is " << stacked
                             << ", but a leading dimension before the shape of "
                             << part << " is expected";
  return success();
}

LogicalResult AllReduceOp::verify() {
  if (failed(verifyForms(*this, outsOf(*this))))
    return failure();
  auto source = cast<ShapedType>(getSource().getType());
  if (!source.getElementType().isIntOrFloat())
    return emitOpError() << "sums elements of type " << source.getElementType()
                         << ", but floats or integers are expected";
  auto result = cast<ShapedType>(resultTypes(*this, outsOf(*this)).front());
  if (source.getElementType() != result.getElementType() ||
      failed(verifyCompatibleShape(source, result)))
    return emitOpError() << "sums " << source << " into " << result
                         << ", but equal types are expected";
  return success();
}
LogicalResult AllGatherOp::verify() {
  if (failed(verifyForms(*this, outsOf(*this))))
    return failure();
  return verifyStacked(*this, "result",
                       resultTypes(*this, outsOf(*this)).front(),
                       getSource().getType());
}
LogicalResult ReduceScatterOp::verify() {
  if (failed(verifyForms(*this, outsOf(*this))))
    return failure();
  return verifyStacked(*this, "source", getSource().getType(),
                       resultTypes(*this, outsOf(*this)).front());
}
LogicalResult AllToAllOp::verify() {
  if (failed(verifyForms(*this, outsOf(*this))))
    return failure();
  auto source = cast<ShapedType>(getSource().getType()),
       result = cast<ShapedType>(resultTypes(*this, outsOf(*this)).front());
  if (source.getElementType() != result.getElementType() ||
      failed(verifyCompatibleShape(source, result)))
    return emitOpError() << "exchanges " << source << " for " << result
                         << ", but equal types are expected";
  return success();
}
LogicalResult AllGatherVOp::verify() {
  if (failed(verifyForms(*this, outsOf(*this))) || failed(verifyPayload(*this)))
    return failure();
  return verifyRowsMatch(*this, getSource().getType(),
                         resultTypes(*this, outsOf(*this)).front());
}
LogicalResult ReduceScatterVOp::verify() {
  if (failed(verifyForms(*this, outsOf(*this))) || failed(verifyPayload(*this)))
    return failure();
  return verifyRowsMatch(*this, getSource().getType(),
                         resultTypes(*this, outsOf(*this)).front());
}
LogicalResult AllToAllVOp::verify() {
  if (failed(verifyForms(*this, outsOf(*this))) || failed(verifyPayload(*this)))
    return failure();
  if (failed(verifyCompatibleShape(getSendCounts().getType(),
                                   getRecvCounts().getType())))
    return emitOpError() << "has send counts of type "
                         << getSendCounts().getType()
                         << " and receive counts of type "
                         << getRecvCounts().getType()
                         << ", but equal types are expected";
  return verifyRowsMatch(*this, getSource().getType(),
                         resultTypes(*this, outsOf(*this)).front());
}
LogicalResult ShareOp::verify() {
  if (failed(verifyForms(*this, outsOf(*this))))
    return failure();
  return verifyRowsMatch(*this, getSource().getType(),
                         resultTypes(*this, outsOf(*this)).front());
}
LogicalResult RecvOp::verify() {
  if (failed(verifyFirstSegments(*this, 1)) ||
      failed(verifyForms(*this, outsOf(*this))))
    return failure();
  auto type = cast<ShapedType>(resultTypes(*this, outsOf(*this)).front());
  for (int64_t dim = 1; dim < type.getRank(); ++dim)
    if (type.isDynamicDim(dim))
      return emitOpError() << "receives " << type
                           << ", but only the first dimension may be dynamic";
  if (type.getRank() > 0 &&
      type.isDynamicDim(0) != static_cast<bool>(getRows()))
    return emitOpError() << "receives " << type
                         << ", but `rows` is expected exactly when the first "
                            "dimension is dynamic";
  return success();
}
LogicalResult RowsOp::verify() {
  AffineMap map = getBound();
  if (map.getNumDims() != 0 || map.getNumSymbols() > 1 ||
      map.getNumResults() != 1)
    return emitOpError() << "has the bound " << getBoundAttr()
                         << ", but a map of one symbol (the maximum of tokens) "
                            "to one result is expected";
  return success();
}

LogicalResult StartOp::verify() {
  Block &block = getBody().front();
  if (!llvm::hasSingleElement(block) || !isa<Collective>(block.front()) ||
      block.front().getNumResults() != 0)
    return emitOpError(
        "starts something else than one collective in buffer form");
  return success();
}

//===----------------------------------------------------------------------===//
// Effects
//===----------------------------------------------------------------------===//

#define COLLECTIVE_EFFECTS(Op)                                                 \
  void Op::getEffects(Effects &effects) {                                      \
    twoFormEffects(*this, outsOf(*this), effects, Communicator::get());        \
  }
COLLECTIVE_EFFECTS(AllReduceOp)
COLLECTIVE_EFFECTS(AllGatherOp)
COLLECTIVE_EFFECTS(ReduceScatterOp)
COLLECTIVE_EFFECTS(AllToAllOp)
COLLECTIVE_EFFECTS(AllGatherVOp)
COLLECTIVE_EFFECTS(ReduceScatterVOp)
COLLECTIVE_EFFECTS(AllToAllVOp)
COLLECTIVE_EFFECTS(RecvOp)
#undef COLLECTIVE_EFFECTS
void SendOp::getEffects(Effects &effects) {
  twoFormEffects(*this, {}, effects, Communicator::get());
}
void WaitOp::getEffects(Effects &effects) {
  // Completes what the collective reads and writes, of which the token says
  // nothing: all memory.
  effects.emplace_back(MemoryEffects::Read::get());
  effects.emplace_back(MemoryEffects::Write::get());
  effects.emplace_back(MemoryEffects::Read::get(), Communicator::get());
  effects.emplace_back(MemoryEffects::Write::get(), Communicator::get());
}
void ShareOp::getEffects(Effects &effects) {
  twoFormEffects(*this, outsOf(*this), effects);
}
void RowsOp::getEffects(Effects &effects) {
  twoFormEffects(*this, {}, effects);
}

//===----------------------------------------------------------------------===//
// Result shapes
//===----------------------------------------------------------------------===//

static SmallVector<OpFoldResult> dimsFrom(OpBuilder &builder, Location loc,
                                          Value source, int64_t first) {
  SmallVector<OpFoldResult> dims;
  for (int64_t dim = first; dim < cast<ShapedType>(source.getType()).getRank();
       ++dim)
    dims.push_back(dimOf(builder, loc, source, dim));
  return dims;
}

LogicalResult
AllReduceOp::reifyResultShapes(OpBuilder &builder,
                               ReifiedRankedShapedTypeDims &shapes) {
  shapes.push_back(dimsFrom(builder, getLoc(), getSource(), 0));
  return success();
}
LogicalResult
AllToAllOp::reifyResultShapes(OpBuilder &builder,
                              ReifiedRankedShapedTypeDims &shapes) {
  shapes.push_back(dimsFrom(builder, getLoc(), getSource(), 0));
  return success();
}
LogicalResult
AllGatherOp::reifyResultShapes(OpBuilder &builder,
                               ReifiedRankedShapedTypeDims &shapes) {
  int64_t size = groupSize(lookupGrid(*this, getGridAttr()), getAxes());
  SmallVector<OpFoldResult> dims = {builder.getIndexAttr(size)};
  llvm::append_range(dims, dimsFrom(builder, getLoc(), getSource(), 0));
  shapes.push_back(dims);
  return success();
}
LogicalResult
ReduceScatterOp::reifyResultShapes(OpBuilder &builder,
                                   ReifiedRankedShapedTypeDims &shapes) {
  shapes.push_back(dimsFrom(builder, getLoc(), getSource(), 1));
  return success();
}

template <typename OpTy>
static LogicalResult reifyRows(OpTy op, OpBuilder &builder,
                               ReifiedRankedShapedTypeDims &shapes) {
  SmallVector<OpFoldResult> dims = {op.getRows()};
  llvm::append_range(dims, dimsFrom(builder, op.getLoc(), op.getSource(), 1));
  shapes.push_back(dims);
  return success();
}
LogicalResult
AllGatherVOp::reifyResultShapes(OpBuilder &builder,
                                ReifiedRankedShapedTypeDims &shapes) {
  return reifyRows(*this, builder, shapes);
}
LogicalResult
ReduceScatterVOp::reifyResultShapes(OpBuilder &builder,
                                    ReifiedRankedShapedTypeDims &shapes) {
  return reifyRows(*this, builder, shapes);
}
LogicalResult
AllToAllVOp::reifyResultShapes(OpBuilder &builder,
                               ReifiedRankedShapedTypeDims &shapes) {
  return reifyRows(*this, builder, shapes);
}
LogicalResult RecvOp::reifyResultShapes(OpBuilder &builder,
                                        ReifiedRankedShapedTypeDims &shapes) {
  auto type = cast<ShapedType>(getResult().getType());
  SmallVector<OpFoldResult> dims;
  for (int64_t dim = 0; dim < type.getRank(); ++dim)
    dims.push_back(type.isDynamicDim(dim)
                       ? OpFoldResult(getRows())
                       : builder.getIndexAttr(type.getDimSize(dim)));
  shapes.push_back(dims);
  return success();
}
LogicalResult ShareOp::reifyResultShapes(OpBuilder &builder,
                                         ReifiedRankedShapedTypeDims &shapes) {
  // floor((T + n - 1 - i) / n): share i of n, the first T mod n shares one row
  // longer.
  Location loc = getLoc();
  int64_t size = groupSize(lookupGrid(*this, getGridAttr()), getAxes());
  Value total = getValueOrCreateConstantIndexOp(
      builder, loc, dimOf(builder, loc, getSource(), 0));
  Value index = IndexOp::create(builder, loc, builder.getIndexType(),
                                getGridAttr(), getAxesAttr());
  Value last = arith::ConstantIndexOp::create(builder, loc, size - 1);
  Value shares = arith::ConstantIndexOp::create(builder, loc, size);
  Value shifted = arith::AddIOp::create(
      builder, loc, total, arith::SubIOp::create(builder, loc, last, index));
  SmallVector<OpFoldResult> dims = {
      arith::DivUIOp::create(builder, loc, shifted, shares).getResult()};
  llvm::append_range(dims, dimsFrom(builder, loc, getSource(), 1));
  shapes.push_back(dims);
  return success();
}

//===----------------------------------------------------------------------===//
// Canonicalization: a group of one member moves nothing
//===----------------------------------------------------------------------===//

template <typename OpTy> static bool isAlone(OpTy op) {
  if (op.getOuts())
    return false;
  shard::GridOp grid = lookupGrid(op, op.getGridAttr());
  return grid && groupSize(grid, op.getAxes()) == 1;
}

// The source, cast to the result's type where only static knowledge differs.
template <typename OpTy>
static LogicalResult replaceBySource(OpTy op, PatternRewriter &rewriter) {
  if (!isAlone(op))
    return failure();
  Value source = op.getSource();
  if (source.getType() != op.getResult().getType())
    source = tensor::CastOp::create(rewriter, op.getLoc(),
                                    op.getResult().getType(), source);
  rewriter.replaceOp(op, source);
  return success();
}

LogicalResult AllReduceOp::canonicalize(AllReduceOp op,
                                        PatternRewriter &rewriter) {
  return replaceBySource(op, rewriter);
}
LogicalResult AllToAllOp::canonicalize(AllToAllOp op,
                                       PatternRewriter &rewriter) {
  return replaceBySource(op, rewriter);
}
LogicalResult AllGatherVOp::canonicalize(AllGatherVOp op,
                                         PatternRewriter &rewriter) {
  return replaceBySource(op, rewriter);
}
LogicalResult ReduceScatterVOp::canonicalize(ReduceScatterVOp op,
                                             PatternRewriter &rewriter) {
  return replaceBySource(op, rewriter);
}
LogicalResult AllToAllVOp::canonicalize(AllToAllVOp op,
                                        PatternRewriter &rewriter) {
  return replaceBySource(op, rewriter);
}

// [...] <-> [1, ...]
static SmallVector<ReassociationIndices> leadingUnit(int64_t rank) {
  SmallVector<ReassociationIndices> groups;
  for (int64_t dim = 0; dim < rank; ++dim)
    groups.push_back(dim == 0 ? ReassociationIndices{0, 1}
                              : ReassociationIndices{dim + 1});
  return groups;
}

LogicalResult AllGatherOp::canonicalize(AllGatherOp op,
                                        PatternRewriter &rewriter) {
  int64_t rank = cast<ShapedType>(op.getSource().getType()).getRank();
  if (!isAlone(op) || rank == 0 ||
      !cast<ShapedType>(op.getSource().getType()).hasStaticShape())
    return failure();
  rewriter.replaceOpWithNewOp<tensor::ExpandShapeOp>(
      op, cast<RankedTensorType>(op.getResult().getType()), op.getSource(),
      leadingUnit(rank));
  return success();
}
LogicalResult ReduceScatterOp::canonicalize(ReduceScatterOp op,
                                            PatternRewriter &rewriter) {
  int64_t rank = cast<ShapedType>(op.getSource().getType()).getRank();
  if (!isAlone(op) || rank < 2)
    return failure();
  rewriter.replaceOpWithNewOp<tensor::CollapseShapeOp>(
      op, cast<RankedTensorType>(op.getResult().getType()), op.getSource(),
      leadingUnit(rank - 1));
  return success();
}
