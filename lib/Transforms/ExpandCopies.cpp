// Every memref.copy becomes nested loops: the outermost dimension is cut over
// the team, the innermost is moved by vectors, with single elements at its
// end. A copy of one dimension cuts that one.
#include "dialects/Moert/MoertDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "moe/Conversion/TeamLoops.h"
#include "moe/Transforms/Passes.h"

namespace moe {
#define GEN_PASS_DEF_EXPANDCOPIESPASS
#include "moe/Transforms/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

// Bytes that one iteration of the innermost loop moves.
static constexpr int64_t vectorBytes = 64;

static bool hasConsecutiveElements(MemRefType type) {
  auto [strides, offset] = type.getStridesAndOffset();
  (void)offset;
  return strides.back() == 1;
}

static int64_t lanesFor(memref::CopyOp op) {
  auto source = cast<MemRefType>(op.getSource().getType());
  auto target = cast<MemRefType>(op.getTarget().getType());
  if (!hasConsecutiveElements(source) || !hasConsecutiveElements(target) ||
      !source.getElementType().isIntOrFloat())
    return 1;
  int64_t bits = source.getElementTypeBitWidth();
  return bits % 8 == 0 ? vectorBytes * 8 / bits : 1;
}

// Moves `lanes` elements at `indices`.
static void moveElements(ImplicitLocOpBuilder &b, memref::CopyOp op,
                         ValueRange indices, int64_t lanes) {
  if (lanes == 1) {
    Value value = memref::LoadOp::create(b, op.getSource(), indices);
    memref::StoreOp::create(b, value, op.getTarget(), indices);
    return;
  }
  Type element = cast<MemRefType>(op.getSource().getType()).getElementType();
  auto type = VectorType::get(lanes, element);
  Value value = vector::LoadOp::create(b, type, op.getSource(), indices);
  vector::StoreOp::create(b, value, op.getTarget(), indices);
}

// Moves [begin, end) of the innermost dimension.
static void moveRow(ImplicitLocOpBuilder &b, memref::CopyOp op,
                    SmallVector<Value> &outer, Value begin, Value end) {
  auto move = [&](int64_t lanes) {
    return [&, lanes](ImplicitLocOpBuilder &inner, Value index) {
      SmallVector<Value> indices = outer;
      indices.push_back(index);
      moveElements(inner, op, indices, lanes);
    };
  };
  int64_t lanes = lanesFor(op);
  Value step = team::constant(b, lanes);
  Value length = arith::SubIOp::create(b, end, begin);
  Value whole =
      arith::SubIOp::create(b, length, arith::RemUIOp::create(b, length, step));
  Value middle = arith::AddIOp::create(b, begin, whole);
  if (lanes != 1)
    team::forLoop(b, begin, middle, lanes, move(lanes));
  team::forLoop(b, lanes != 1 ? middle : begin, end, 1, move(1));
}

static void moveFrom(ImplicitLocOpBuilder &b, memref::CopyOp op,
                     SmallVector<Value> &outer) {
  auto type = cast<MemRefType>(op.getSource().getType());
  int64_t dim = outer.size();
  Value begin = team::constant(b, 0);
  Value end = b.createOrFold<memref::DimOp>(op.getSource(), dim);
  if (dim == 0)
    std::tie(begin, end) = team::slice(b, end);
  if (dim + 1 == type.getRank())
    return moveRow(b, op, outer, begin, end);
  team::forLoop(b, begin, end, 1,
                [&](ImplicitLocOpBuilder &inner, Value index) {
                  outer.push_back(index);
                  moveFrom(inner, op, outer);
                  outer.pop_back();
                });
}

static LogicalResult expand(memref::CopyOp op) {
  auto type = dyn_cast<MemRefType>(op.getSource().getType());
  if (!type || !isa<MemRefType>(op.getTarget().getType()))
    return op.emitOpError("moves a buffer without a rank, but ranked ones are "
                          "expected");
  ImplicitLocOpBuilder b(op.getLoc(), op);
  SmallVector<Value> outer;
  if (type.getRank() == 0)
    team::onFirstThread(b, [&](ImplicitLocOpBuilder &inner) {
      moveElements(inner, op, {}, 1);
    });
  else
    moveFrom(b, op, outer);
  moert::TeamBarrierOp::create(b);
  op.erase();
  return success();
}

namespace {
struct ExpandCopiesPass : moe::impl::ExpandCopiesPassBase<ExpandCopiesPass> {
  void runOnOperation() override {
    SmallVector<memref::CopyOp> copies;
    getOperation().walk([&](memref::CopyOp op) { copies.push_back(op); });
    for (memref::CopyOp op : copies)
      if (failed(expand(op)))
        return signalPassFailure();
  }
};
} // namespace
