// The work of each operation of the sharded form.
#include "dialects/Moe/MoeDialect.h"
#include "moe/Analysis/Work.h"

#include "moe/Analysis/WorkInterface.cpp.inc"

using namespace mlir;
using namespace moe;

static ShapedType shapeOf(Value value) {
  return cast<ShapedType>(value.getType());
}

static double elementBytes(Value value) {
  return shapeOf(value).getElementTypeBitWidth() / 8.0;
}

// Bytes of one row: everything but the first dimension.
static double rowBytes(Value value) {
  double bytes = elementBytes(value);
  for (int64_t size : shapeOf(value).getShape().drop_front())
    bytes *= size;
  return bytes;
}

static double allBytes(Value value) {
  return shapeOf(value).getNumElements() * elementBytes(value);
}

namespace {

// logits = x W^T, then a selection over E values for each token.
struct RouteWork : WorkInterface::ExternalModel<RouteWork, RouteOp> {
  Work getWork(Operation *op, const RowCounts &counts) const {
    auto route = cast<RouteOp>(op);
    double rows = counts.rowsOf(route.getX());
    int64_t experts = shapeOf(route.getWeight()).getDimSize(0),
            hidden = shapeOf(route.getWeight()).getDimSize(1);
    Work work;
    work.kind = WorkKind::Route;
    work.groups = {rows};
    work.columns = experts;
    work.depth = hidden;
    work.flops = 2 * rows * experts * hidden;
    work.weightBytes = allBytes(route.getWeight());
    work.activationBytes = rows * (rowBytes(route.getX()) + 3 * 4 * experts);
    return work;
  }
};

// Two passes over the pairs' ids.
struct SortWork : WorkInterface::ExternalModel<SortWork, SortOp> {
  Work getWork(Operation *op, const RowCounts &counts) const {
    auto sort = cast<SortOp>(op);
    Work work;
    work.kind = WorkKind::Permute;
    work.activationBytes =
        4 * counts.rowsOf(sort.getIds()) * rowBytes(sort.getIds());
    return work;
  }
};

struct TakeWork : WorkInterface::ExternalModel<TakeWork, TakeOp> {
  Work getWork(Operation *op, const RowCounts &counts) const {
    auto take = cast<TakeOp>(op);
    Work work;
    work.kind = WorkKind::Permute;
    work.activationBytes =
        2 * counts.rowsOf(take.getRows()) * rowBytes(take.getX());
    return work;
  }
};

struct RegroupWork : WorkInterface::ExternalModel<RegroupWork, RegroupOp> {
  Work getWork(Operation *op, const RowCounts &counts) const {
    Work work;
    work.kind = WorkKind::Permute;
    work.activationBytes = 4 * counts.rowsOf(cast<RegroupOp>(op).getRows());
    return work;
  }
};

struct GroupedMatmulWork
    : WorkInterface::ExternalModel<GroupedMatmulWork, GroupedMatmulOp> {
  Work getWork(Operation *op, const RowCounts &counts) const {
    auto product = cast<GroupedMatmulOp>(op);
    ShapedType rhs = shapeOf(product.getRhs());
    int64_t rank = rhs.getRank(), width = rhs.getDimSize(rank - 2),
            parts = rank == 4 ? rhs.getDimSize(1) : 1;
    Work work;
    work.kind = WorkKind::Product;
    work.weightBits = rhs.getElementTypeBitWidth();
    work.depth = rhs.getDimSize(rank - 1);
    work.columns = parts * width;
    if (product.getOffsets())
      work.groups =
          llvm::SmallVector<double>(counts.groupsOf(product.getOffsets()));
    else
      work.groups = {counts.rowsOf(product.getRows())};
    double rows = 0, active = 0;
    for (double group : work.groups) {
      rows += group;
      active += std::min(group, 1.0);
    }
    work.flops = 2 * rows * work.columns * work.depth;
    for (Value weight :
         {product.getRhs(), product.getBias(), product.getScales()})
      if (weight)
        work.weightBytes += active / rhs.getDimSize(0) * allBytes(weight);
    work.activationBytes =
        rows * (work.depth + width) * elementBytes(product.getLhs());
    return work;
  }
};

struct TokenGateWork
    : WorkInterface::ExternalModel<TokenGateWork, TokenGateOp> {
  Work getWork(Operation *op, const RowCounts &counts) const {
    auto gate = cast<TokenGateOp>(op);
    Work work;
    work.kind = WorkKind::Permute;
    work.activationBytes = counts.rowsOf(gate.getX()) * rowBytes(gate.getX());
    return work;
  }
};

// Each row is read once; each token's sum is written once.
struct CombineWork : WorkInterface::ExternalModel<CombineWork, CombineOp> {
  Work getWork(Operation *op, const RowCounts &counts) const {
    auto combine = cast<CombineOp>(op);
    double tokens = combine.getPositions()
                        ? counts.rowsOf(combine.getPositions())
                        : counts.rowsOf(combine.getRows());
    Work work;
    work.kind = WorkKind::Permute;
    work.activationBytes = (counts.rowsOf(combine.getRows()) +
                            tokens * (combine.getAddend() ? 2 : 1)) *
                           rowBytes(combine.getRows());
    return work;
  }
};

} // namespace

void moe::registerWorkModels(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, MoeDialect *) {
    RouteOp::attachInterface<RouteWork>(*context);
    SortOp::attachInterface<SortWork>(*context);
    TakeOp::attachInterface<TakeWork>(*context);
    RegroupOp::attachInterface<RegroupWork>(*context);
    GroupedMatmulOp::attachInterface<GroupedMatmulWork>(*context);
    TokenGateOp::attachInterface<TokenGateWork>(*context);
    CombineOp::attachInterface<CombineWork>(*context);
  });
}
