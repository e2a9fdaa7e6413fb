// One walk; each shard op is replaced in place, or refused with the reason. A
// coll op stacks the members' blocks in a leading dimension, where a shard op
// cuts or joins a dimension of its own: that dimension is split or merged
// around it.
#include "dialects/Coll/CollDialect.h"
#include "dialects/Forms/GridSize.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "moe/Conversion/Passes.h"
#include "llvm/ADT/TypeSwitch.h"

namespace moe {
#define GEN_PASS_DEF_CONVERTSHARDTOCOLLPASS
#include "moe/Conversion/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

//===----------------------------------------------------------------------===//
// Dimensions
//===----------------------------------------------------------------------===//

static RankedTensorType typeOf(Value value) {
  return cast<RankedTensorType>(value.getType());
}

static OpFoldResult dimOf(ImplicitLocOpBuilder &b, Value value, int64_t dim) {
  return tensor::getMixedSize(b, b.getLoc(), value, dim);
}

// Dimension `from` becomes dimension `to`; the others keep their order.
static Value moveDim(ImplicitLocOpBuilder &b, Value value, int64_t from,
                     int64_t to) {
  if (from == to)
    return value;
  SmallVector<int64_t> order =
      llvm::to_vector(llvm::seq<int64_t>(0, typeOf(value).getRank()));
  order.erase(order.begin() + from);
  order.insert(order.begin() + to, from);
  SmallVector<OpFoldResult> sizes;
  for (int64_t dim : order)
    sizes.push_back(dimOf(b, value, dim));
  Value init =
      tensor::EmptyOp::create(b, sizes, typeOf(value).getElementType());
  return linalg::TransposeOp::create(b, value, init, order)->getResult(0);
}

static SmallVector<ReassociationIndices> groupsWithPair(int64_t groups,
                                                        int64_t pair) {
  SmallVector<ReassociationIndices> result;
  int64_t next = 0;
  for (int64_t group = 0; group < groups; ++group) {
    result.push_back({next++});
    if (group == pair)
      result.back().push_back(next++);
  }
  return result;
}

static Value divided(ImplicitLocOpBuilder &b, Value size, int64_t parts) {
  return arith::DivUIOp::create(b, size,
                                arith::ConstantIndexOp::create(b, parts));
}

// [.., d, ..] to [.., parts, d / parts, ..].
static Value splitDim(ImplicitLocOpBuilder &b, Value value, int64_t dim,
                      int64_t parts) {
  RankedTensorType type = typeOf(value);
  SmallVector<OpFoldResult> sizes;
  SmallVector<int64_t> shape;
  for (int64_t index = 0; index < type.getRank(); ++index) {
    OpFoldResult size = dimOf(b, value, index);
    int64_t extent = type.getDimSize(index);
    if (index == dim) {
      sizes.push_back(b.getIndexAttr(parts));
      shape.push_back(parts);
      if (type.isDynamicDim(index)) {
        size = divided(b, cast<Value>(size), parts);
      } else {
        extent /= parts;
        size = b.getIndexAttr(extent);
      }
    }
    sizes.push_back(size);
    shape.push_back(extent);
  }
  return tensor::ExpandShapeOp::create(
      b, type.clone(shape), value, groupsWithPair(type.getRank(), dim), sizes);
}

// [.., a, b, ..] to [.., a * b, ..], `dim` being that of a.
static Value mergeDims(ImplicitLocOpBuilder &b, Value value, int64_t dim) {
  return tensor::CollapseShapeOp::create(
      b, value, groupsWithPair(typeOf(value).getRank() - 1, dim));
}

static Value castTo(ImplicitLocOpBuilder &b, Type type, Value value) {
  return value.getType() == type ? value
                                 : tensor::CastOp::create(b, type, value);
}

//===----------------------------------------------------------------------===//
// Groups
//===----------------------------------------------------------------------===//

namespace {

/// The group of a shard op, as a coll op names it.
struct Group {
  FlatSymbolRefAttr grid;
  DenseI64ArrayAttr axes;
  shard::GridOp gridOp;
  int64_t size;
};

struct ConvertShardToCollPass
    : moe::impl::ConvertShardToCollPassBase<ConvertShardToCollPass> {
  void runOnOperation() override;

private:
  LogicalResult convert(Operation *op);
};

} // namespace

template <typename AxesRange>
static FailureOr<Group> groupOf(Operation *op, FlatSymbolRefAttr name,
                                AxesRange &&range) {
  SmallVector<int64_t> axes(range.begin(), range.end());
  shard::GridOp grid = coll::lookupGrid(op, name);
  if (failed(verifyGridSize(op, grid)))
    return failure();
  for (int64_t axis : axes)
    if (ShapedType::isDynamic(grid.getShape()[axis]))
      return op->emitOpError()
             << "communicates over axis " << axis << " of `" << name.getValue()
             << "`, whose size is not known";
  return Group{name, DenseI64ArrayAttr::get(op->getContext(), axes), grid,
               coll::groupSize(grid, axes)};
}

template <typename ShardOp> static FailureOr<Group> groupOf(ShardOp op) {
  return groupOf(op, op.getGridAttr(), op.getGridAxes());
}

// The number within the group of the member with these coordinates.
static Value memberNumber(ImplicitLocOpBuilder &b, const Group &group,
                          ArrayRef<OpFoldResult> coordinates) {
  Value number = arith::ConstantIndexOp::create(b, 0);
  shard::GridOp grid = group.gridOp;
  for (auto [axis, coordinate] :
       llvm::zip(group.axes.asArrayRef(), coordinates)) {
    Value size = arith::ConstantIndexOp::create(b, grid.getShape()[axis]);
    Value scaled = b.createOrFold<arith::MulIOp>(number, size);
    Value digit = getValueOrCreateConstantIndexOp(b, b.getLoc(), coordinate);
    number = b.createOrFold<arith::AddIOp>(scaled, digit);
  }
  return number;
}

//===----------------------------------------------------------------------===//
// Collectives
//===----------------------------------------------------------------------===//

using Replacement = FailureOr<SmallVector<Value>>;

static Replacement convertGather(ImplicitLocOpBuilder &b,
                                 shard::AllGatherOp op) {
  FailureOr<Group> group = groupOf(op);
  if (failed(group))
    return failure();
  Value input = op.getInput();
  SmallVector<int64_t> shape(typeOf(input).getShape());
  shape.insert(shape.begin(), group->size);
  int64_t axis = op.getGatherAxis().getSExtValue();
  Value all =
      coll::AllGatherOp::create(b, TypeRange(typeOf(input).clone(shape)), input,
                                group->grid, group->axes, Value())
          .getResult();
  Value joined = mergeDims(b, moveDim(b, all, 0, axis), axis);
  return SmallVector<Value>{castTo(b, op.getType(), joined)};
}

// Sums are what coll makes, in the type of the result.
template <typename ShardOp>
static FailureOr<Value> summand(ImplicitLocOpBuilder &b, ShardOp op) {
  if (op.getReduction() != shard::ReductionKind::Sum)
    return op.emitOpError()
           << "reduces by `" << stringifyReductionKind(op.getReduction())
           << "`, but `coll` only sums";
  auto type = dyn_cast<RankedTensorType>(op.getInput().getType());
  auto result = dyn_cast<RankedTensorType>(op.getResult().getType());
  if (!type || !result)
    return op.emitOpError() << "reduces " << op.getInput().getType()
                            << ", but tensors are expected";
  Type from = type.getElementType(), to = result.getElementType();
  if (from == to)
    return Value(op.getInput());
  if (!isa<FloatType>(from) || !isa<FloatType>(to) ||
      from.getIntOrFloatBitWidth() >= to.getIntOrFloatBitWidth())
    return op.emitOpError()
           << "reduces elements of type " << from << " into " << to
           << ", but an equal or wider float is expected";
  return Value(arith::ExtFOp::create(b, type.clone(to), op.getInput()));
}

static Replacement convertReduce(ImplicitLocOpBuilder &b,
                                 shard::AllReduceOp op) {
  FailureOr<Group> group = groupOf(op);
  if (failed(group))
    return failure();
  FailureOr<Value> input = summand(b, op);
  if (failed(input))
    return failure();
  Value sum = coll::AllReduceOp::create(b, TypeRange(input->getType()), *input,
                                        group->grid, group->axes, Value())
                  .getResult();
  return SmallVector<Value>{castTo(b, op.getResult().getType(), sum)};
}

static Replacement convertScatter(ImplicitLocOpBuilder &b,
                                  shard::ReduceScatterOp op) {
  FailureOr<Group> group = groupOf(op);
  if (failed(group))
    return failure();
  FailureOr<Value> input = summand(b, op);
  if (failed(input))
    return failure();
  int64_t axis = op.getScatterAxis().getSExtValue();
  Value blocks = moveDim(b, splitDim(b, *input, axis, group->size), axis, 0);
  RankedTensorType mine =
      typeOf(blocks).clone(typeOf(blocks).getShape().drop_front());
  Value sum = coll::ReduceScatterOp::create(b, TypeRange(mine), blocks,
                                            group->grid, group->axes, Value())
                  .getResult();
  return SmallVector<Value>{castTo(b, op.getResult().getType(), sum)};
}

static Replacement convertExchange(ImplicitLocOpBuilder &b,
                                   shard::AllToAllOp op) {
  FailureOr<Group> group = groupOf(op);
  if (failed(group))
    return failure();
  int64_t split = op.getSplitAxis().getSExtValue();
  int64_t concat = op.getConcatAxis().getSExtValue();
  Value blocks =
      moveDim(b, splitDim(b, op.getInput(), split, group->size), split, 0);
  Value arrived =
      coll::AllToAllOp::create(b, TypeRange(blocks.getType()), blocks,
                               group->grid, group->axes, Value())
          .getResult();
  Value joined = mergeDims(b, moveDim(b, arrived, 0, concat), concat);
  return SmallVector<Value>{castTo(b, op.getType(), joined)};
}

// No communication: each rank keeps its part of what it has.
static Replacement convertSlice(ImplicitLocOpBuilder &b, shard::AllSliceOp op) {
  FailureOr<Group> group = groupOf(op);
  if (failed(group))
    return failure();
  Value input = op.getInput();
  int64_t axis = op.getSliceAxis().getSExtValue(),
          rank = typeOf(input).getRank();
  SmallVector<OpFoldResult> offsets(rank, b.getIndexAttr(0)),
      strides(rank, b.getIndexAttr(1)), sizes;
  for (int64_t dim = 0; dim < rank; ++dim)
    sizes.push_back(dimOf(b, input, dim));
  sizes[axis] =
      typeOf(input).isDynamicDim(axis)
          ? OpFoldResult(divided(b, cast<Value>(sizes[axis]), group->size))
          : b.getIndexAttr(typeOf(input).getDimSize(axis) / group->size);
  Value me =
      coll::IndexOp::create(b, b.getIndexType(), group->grid, group->axes);
  Value size = getValueOrCreateConstantIndexOp(b, b.getLoc(), sizes[axis]);
  offsets[axis] = arith::MulIOp::create(b, me, size).getResult();
  Value part =
      tensor::ExtractSliceOp::create(b, input, offsets, sizes, strides);
  return SmallVector<Value>{castTo(b, op.getType(), part)};
}

//===----------------------------------------------------------------------===//
// Point to point, and what a rank knows about itself
//===----------------------------------------------------------------------===//

static Replacement convertSend(ImplicitLocOpBuilder &b, shard::SendOp op) {
  FailureOr<Group> group = groupOf(op);
  if (failed(group))
    return failure();
  Value peer = memberNumber(
      b, *group,
      getMixedValues(op.getDestination(), op.getDestinationDynamic(), b));
  coll::SendOp::create(b, op.getInput(), peer, group->grid, group->axes);
  return SmallVector<Value>{castTo(b, op.getType(), op.getInput())};
}

static Replacement convertRecv(ImplicitLocOpBuilder &b, shard::RecvOp op) {
  FailureOr<Group> group = groupOf(op);
  if (failed(group))
    return failure();
  if (!op.getSource())
    return op.emitOpError("receives from any member, but `coll.recv` names the "
                          "member that sends: `source` is expected");
  RankedTensorType type = typeOf(op.getInput());
  for (int64_t dim = 1; dim < type.getRank(); ++dim)
    if (type.isDynamicDim(dim))
      return op.emitOpError()
             << "receives " << type
             << ", but only the first dimension may be dynamic";
  Value peer = memberNumber(
      b, *group, getMixedValues(*op.getSource(), op.getSourceDynamic(), b));
  Value rows;
  if (type.isDynamicDim(0))
    rows = cast<Value>(dimOf(b, op.getInput(), 0));
  Value arrived = coll::RecvOp::create(b, TypeRange(type), peer, rows,
                                       group->grid, group->axes, Value())
                      .getResult();
  return SmallVector<Value>{castTo(b, op.getType(), arrived)};
}

static Replacement convertIndices(ImplicitLocOpBuilder &b,
                                  FlatSymbolRefAttr grid,
                                  ArrayRef<SmallVector<int64_t>> groups) {
  SmallVector<Value> indices;
  for (ArrayRef<int64_t> axes : groups)
    indices.push_back(coll::IndexOp::create(b, b.getIndexType(), grid,
                                            b.getDenseI64ArrayAttr(axes)));
  return indices;
}

static SmallVector<int64_t> axesOrAll(shard::GridOp grid,
                                      ArrayRef<int16_t> axes) {
  if (!axes.empty())
    return SmallVector<int64_t>(axes.begin(), axes.end());
  return llvm::to_vector(llvm::seq<int64_t>(0, grid.getRank()));
}

static Replacement convertShape(ImplicitLocOpBuilder &b,
                                shard::GridShapeOp op) {
  shard::GridOp grid = coll::lookupGrid(op, op.getGridAttr());
  SmallVector<Value> sizes;
  for (int64_t axis : axesOrAll(grid, op.getAxes())) {
    if (ShapedType::isDynamic(grid.getShape()[axis]))
      return op.emitOpError() << "asks for the size of axis " << axis << " of `"
                              << grid.getSymName() << "`, which is not known";
    sizes.push_back(arith::ConstantIndexOp::create(b, grid.getShape()[axis]));
  }
  return sizes;
}

LogicalResult ConvertShardToCollPass::convert(Operation *op) {
  ImplicitLocOpBuilder b(op->getLoc(), op);
  Replacement replacement =
      llvm::TypeSwitch<Operation *, Replacement>(op)
          .Case([&](shard::AllGatherOp o) { return convertGather(b, o); })
          .Case([&](shard::AllReduceOp o) { return convertReduce(b, o); })
          .Case([&](shard::ReduceScatterOp o) { return convertScatter(b, o); })
          .Case([&](shard::AllToAllOp o) { return convertExchange(b, o); })
          .Case([&](shard::AllSliceOp o) { return convertSlice(b, o); })
          .Case([&](shard::SendOp o) { return convertSend(b, o); })
          .Case([&](shard::RecvOp o) { return convertRecv(b, o); })
          .Case([&](shard::GridShapeOp o) { return convertShape(b, o); })
          .Case([&](shard::ProcessLinearIndexOp o) {
            shard::GridOp grid = coll::lookupGrid(o, o.getGridAttr());
            return convertIndices(b, o.getGridAttr(), {axesOrAll(grid, {})});
          })
          .Case([&](shard::ProcessMultiIndexOp o) {
            shard::GridOp grid = coll::lookupGrid(o, o.getGridAttr());
            SmallVector<SmallVector<int64_t>> groups;
            for (int64_t axis : axesOrAll(grid, o.getAxes()))
              groups.push_back({axis});
            return convertIndices(b, o.getGridAttr(), groups);
          })
          .Case<shard::BroadcastOp, shard::GatherOp, shard::ReduceOp,
                shard::ScatterOp>([](auto o) -> Replacement {
            return o.emitOpError(
                "has a root, but `coll` knows only collectives "
                "in which all members do the same");
          })
          .Case([](shard::ShiftOp o) -> Replacement {
            return o.emitOpError("shifts between neighbours, which `coll` does "
                                 "not express: a collective of the whole group "
                                 "is expected");
          })
          .Default([](Operation *o) -> Replacement {
            return o->emitOpError("describes a sharding, but a program that is "
                                  "already partitioned is expected "
                                  "(shard-partition)");
          });
  if (failed(replacement))
    return failure();
  op->replaceAllUsesWith(*replacement);
  op->erase();
  return success();
}

void ConvertShardToCollPass::runOnOperation() {
  SmallVector<Operation *> ops;
  getOperation().walk([&](Operation *op) {
    if (isa<shard::ShardDialect>(op->getDialect()) && !isa<shard::GridOp>(op))
      ops.push_back(op);
  });
  bool ok = true;
  for (Operation *op : ops)
    ok &= succeeded(convert(op));
  if (!ok)
    signalPassFailure();
}
