// Two kinds of counts that a device need not tell its host: the tokens of each
// member of a group, which follow from all tokens and the split, and rows that
// are kept on this rank alone, of which a bound is enough.
#include "dialects/Coll/CollDialect.h"
#include "dialects/Moe/MoeDialect.h"
#include "dialects/Moert/MoertDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "moe/Analysis/CollectiveDigest.h"
#include "moe/Analysis/Collectives.h"
#include "moe/Transforms/Passes.h"

namespace moe {
#define GEN_PASS_DEF_COUNTONHOSTPASS
#include "moe/Transforms/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

static Value constant(ImplicitLocOpBuilder &b, int64_t value) {
  return arith::ConstantIndexOp::create(b, value);
}

//===----------------------------------------------------------------------===//
// Tokens of the members of a group
//===----------------------------------------------------------------------===//

// The store of this rank's tokens into `word`, its only writer; null if that is
// not what it holds. `split` gets the axes over which tokens are split.
static memref::StoreOp findTokens(Value word, DenseI64ArrayAttr &split) {
  memref::StoreOp store;
  for (Operation *user : word.getUsers()) {
    if (isa<coll::AllGatherOp>(user))
      continue;
    if (store || !isa<memref::StoreOp>(user))
      return {};
    store = cast<memref::StoreOp>(user);
  }
  auto cast = store ? store.getValue().getDefiningOp<arith::IndexCastOp>()
                    : arith::IndexCastOp();
  auto dim =
      cast ? cast.getIn().getDefiningOp<memref::DimOp>() : memref::DimOp();
  auto input = dim ? dyn_cast<BlockArgument>(dim.getSource()) : BlockArgument();
  auto function = input
                      ? dyn_cast<func::FuncOp>(input.getOwner()->getParentOp())
                      : func::FuncOp();
  if (!function || dim.getConstantIndex() != 0)
    return {};
  split = function.getArgAttrOfType<DenseI64ArrayAttr>(input.getArgNumber(),
                                                       "moe.split");
  return split ? store : memref::StoreOp();
}

// Share i of n holds floor(T / n) + (i < T mod n ? 1 : 0) tokens, i the rank's
// number over the axes of the split, first axis slowest.
static Value countTokens(ImplicitLocOpBuilder &b, coll::AllGatherOp gather,
                         ArrayRef<int64_t> split) {
  shard::GridOp grid = coll::lookupGrid(gather, gather.getGridAttr());
  ArrayRef<int64_t> shape = grid.getShape(), group = gather.getAxes();
  int64_t parts = coll::groupSize(grid, split);
  int64_t members = coll::groupSize(grid, group);
  auto type = cast<MemRefType>(gather.getOuts().getType());
  Value host;
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(
        &gather->getParentOfType<func::FuncOp>().getBody().front());
    host = memref::AllocaOp::create(
        b, MemRefType::get(type.getShape(), type.getElementType()));
  }
  Value total = moert::TotalTokensOp::create(b, b.getIndexType());
  Value least = arith::DivUIOp::create(b, total, constant(b, parts));
  Value more = arith::RemUIOp::create(b, total, constant(b, parts));
  for (int64_t member = 0; member < members; ++member) {
    SmallVector<int64_t> digits(shape.size());
    int64_t rest = member;
    for (int64_t axis : llvm::reverse(group)) {
      digits[axis] = rest % shape[axis];
      rest /= shape[axis];
    }
    Value number = constant(b, 0);
    for (int64_t axis : split) {
      Value digit =
          llvm::is_contained(group, axis)
              ? constant(b, digits[axis])
              : coll::IndexOp::create(b, b.getIndexType(), gather.getGridAttr(),
                                      b.getDenseI64ArrayAttr({axis}));
      number = arith::AddIOp::create(
          b, arith::MulIOp::create(b, number, constant(b, shape[axis])), digit);
    }
    Value larger =
        arith::CmpIOp::create(b, arith::CmpIPredicate::ult, number, more);
    Value count = arith::AddIOp::create(
        b, least,
        arith::SelectOp::create(b, larger, constant(b, 1), constant(b, 0)));
    SmallVector<Value> place(type.getRank(), constant(b, 0));
    place.front() = constant(b, member);
    memref::StoreOp::create(
        b, arith::IndexCastOp::create(b, type.getElementType(), count), host,
        place);
  }
  return host;
}

static bool replaceGather(coll::AllGatherOp gather) {
  Value counts = gather.getOuts();
  auto type = counts ? dyn_cast<MemRefType>(counts.getType()) : MemRefType();
  auto word = dyn_cast<MemRefType>(gather.getSource().getType());
  if (!type || !word || !type.getElementType().isInteger(32) ||
      !type.hasStaticShape() || type.getRank() == 0 || !word.hasStaticShape() ||
      word.getNumElements() != 1)
    return false;
  for (OpOperand &use : counts.getUses())
    if (use.getOwner() != gather && !isReadByHost(use))
      return false;
  DenseI64ArrayAttr split;
  memref::StoreOp store = findTokens(gather.getSource(), split);
  auto isSplit = [&](int64_t axis) {
    return llvm::is_contained(split.asArrayRef(), axis);
  };
  if (!store || !llvm::all_of(gather.getAxes(), isSplit))
    return false;
  ImplicitLocOpBuilder b(gather.getLoc(), gather);
  Value host = countTokens(b, gather, split);
  counts.replaceUsesWithIf(
      host, [&](OpOperand &use) { return use.getOwner() != gather; });
  gather.erase();
  store.erase();
  return true;
}

//===----------------------------------------------------------------------===//
// Rows that are kept on this rank
//===----------------------------------------------------------------------===//

// The op that fills a buffer as one of its outs, the only one that does.
template <typename OpTy> static OpTy findProducer(Value buffer) {
  OpTy found;
  for (Operation *user : buffer.getUsers())
    if (auto op = dyn_cast<OpTy>(user);
        op && llvm::is_contained(op.getOuts(), buffer)) {
      if (found)
        return {};
      found = op;
    }
  return found;
}

// Kernels go by the offsets on the device; the number of rows sizes buffers and
// chooses tiles alone.
static bool needsBoundOnly(OpOperand &use) {
  if (isa<memref::ViewOp>(use.getOwner()))
    return use.getOperandNumber() >= 2;
  auto matmul = dyn_cast<GroupedMatmulOp>(use.getOwner());
  return matmul && matmul.getRows() == use.get() && matmul.getOffsets() &&
         !matmul.getScatter() && !matmul.getRowWeights();
}

static bool replaceRows(coll::RowsOp rows) {
  CountsOp counts;
  for (Operation *user : rows.getCounts().getUsers()) {
    if (user == rows)
      continue;
    if (counts || !isa<CountsOp>(user))
      return false;
    counts = cast<CountsOp>(user);
  }
  SortOp sort;
  if (counts)
    for (Operation *user : counts.getOffsets().getUsers())
      if (auto found = dyn_cast<SortOp>(user)) {
        if (sort)
          return false;
        sort = found;
      }
  int64_t window = sort ? static_cast<int64_t>(sort.getWindow()) : 0;
  if (!sort || sort.getOuts().empty() ||
      sort.getOuts()[2] != counts.getOffsets() || sort.getGroup() != 1 ||
      !llvm::all_of(rows->getUses(), needsBoundOnly))
    return false;
  // A token brings no slot two rows: where it has more choices than there are
  // slots, the sort sees to that.
  int64_t topK = sort.getTopK();
  ImplicitLocOpBuilder b(rows.getLoc(), rows);
  Value tokens = b.createOrFold<memref::DimOp>(sort.getIds(), 0);
  Value bound =
      arith::MulIOp::create(b, tokens, constant(b, std::min(topK, window)));
  // Expected are T * topK * window / slots of all ranks.
  auto part = b.getDenseI64ArrayAttr(
      {std::max(topK, window), static_cast<int64_t>(sort.getSlots().size())});
  for (Operation *user : rows->getUsers())
    if (isa<GroupedMatmulOp>(user))
      user->setAttr("moe.part", part);
  rows.replaceAllUsesWith(bound);
  rows.erase();
  counts.erase();
  return true;
}

namespace {

struct CountOnHostPass : moe::impl::CountOnHostPassBase<CountOnHostPass> {
  void runOnOperation() override {
    for (auto interface : getOperation().getOps<moert::InterfaceOp>()) {
      FailureOr<func::FuncOp> function = moert::lookupFunction(interface);
      if (failed(function))
        return signalPassFailure();
      SmallVector<coll::AllGatherOp> gathers;
      SmallVector<coll::RowsOp> rows;
      function->walk([&](coll::AllGatherOp op) { gathers.push_back(op); });
      function->walk([&](coll::RowsOp op) { rows.push_back(op); });
      bool changed = false;
      for (coll::AllGatherOp op : gathers)
        changed |= replaceGather(op);
      for (coll::RowsOp op : rows)
        (void)replaceRows(op);
      // What the interface says of collectives follows those that are left.
      if (changed && interface->hasAttr("moert.collectives"))
        recordCollectives(interface, *function);
    }
  }
};

} // namespace
