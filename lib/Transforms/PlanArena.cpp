// Places every buffer of a layer in one arena.
//
// Sizes are linear forms a*M + b*ceil(M/n) + c in the maximum of tokens M; each
// coefficient is rounded up to 64 bytes, so that every offset, a sum of sizes,
// stays aligned without rounding at run time. Memory is shared by slots: a slot
// is as large as its largest buffer (coefficient by coefficient), a buffer
// takes a slot that is free when it is first used. The choice is made at one
// size of M, but is correct at all. A team barrier stands after every op, so
// lives are counted in ops.
#include "dialects/Coll/CollDialect.h"
#include "dialects/Moert/MoertDialect.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "moe/Analysis/TokenBounds.h"
#include "moe/Transforms/Passes.h"

namespace moe {
#define GEN_PASS_DEF_PLANARENAPASS
#include "moe/Transforms/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {

constexpr int64_t kNominalTokens = 4096;

using Linear = TokenBytes;

struct Buffer {
  memref::AllocOp alloc;
  Linear size;
  unsigned first = 0, last = 0;
  unsigned slot = 0;
};

struct Slot {
  Linear size;
  unsigned freeAfter = 0;
};

class Planner {
public:
  Planner(func::FuncOp function, int64_t shares)
      : function(function), shares(shares) {}

  LogicalResult collect();
  void assign();
  Linear rewrite(Value arena, Value maxTokens);

  SmallVector<Buffer> buffers;

private:
  unsigned lastUse(Value value, DenseMap<Operation *, unsigned> &order);

  func::FuncOp function;
  int64_t shares;
  SmallVector<Slot> slots;
};

} // namespace

unsigned Planner::lastUse(Value value, DenseMap<Operation *, unsigned> &order) {
  unsigned last = 0;
  for (Operation *user : value.getUsers()) {
    Operation *top = function.getBody().front().findAncestorOpInBlock(*user);
    last = std::max(last, order.lookup(top));
    if (isa<ViewLikeOpInterface>(user))
      for (Value result : user->getResults())
        last = std::max(last, lastUse(result, order));
  }
  return last;
}

LogicalResult Planner::collect() {
  DenseMap<Operation *, unsigned> order;
  for (auto [index, op] : llvm::enumerate(function.getBody().front()))
    order[&op] = index;
  WalkResult walk = function.walk([&](memref::AllocOp alloc) {
    if (alloc->getBlock() != &function.getBody().front()) {
      alloc.emitOpError("stands inside control flow, but a planned buffer is "
                        "expected at the top of its function");
      return WalkResult::interrupt();
    }
    MemRefType type = alloc.getType();
    Linear size = {0, 0,
                   static_cast<int64_t>(type.getElementTypeBitWidth() / 8)};
    for (int64_t dim = 0; dim < type.getRank(); ++dim) {
      FailureOr<Linear> extent =
          boundDimInTokens(alloc.getResult(), dim, shares);
      // Rows of 16-bit elements end on 16 bytes: a device pads them.
      if (succeeded(extent) && extent->isConstant() && dim > 0 &&
          dim + 1 == type.getRank() && type.getElementTypeBitWidth() == 16)
        extent->constant = llvm::alignTo(extent->constant, 8);
      if (failed(extent) || (!extent->isConstant() && !size.isConstant())) {
        alloc.emitOpError() << "has no bound that is linear in the number of "
                               "tokens for dimension "
                            << dim << " of " << type;
        return WalkResult::interrupt();
      }
      size =
          size.isConstant() ? *extent * size.constant : size * extent->constant;
    }
    buffers.push_back({alloc, size.aligned(), order[alloc],
                       lastUse(alloc.getResult(), order), 0});
    return WalkResult::advance();
  });
  return failure(walk.wasInterrupted());
}

void Planner::assign() {
  for (Buffer &buffer : buffers) {
    // The free slot that grows least; a new one if that costs no more.
    int64_t best = buffer.size.at(kNominalTokens, shares);
    unsigned chosen = slots.size();
    for (auto [index, slot] : llvm::enumerate(slots)) {
      if (slot.freeAfter >= buffer.first)
        continue;
      int64_t growth = slot.size.max(buffer.size).at(kNominalTokens, shares) -
                       slot.size.at(kNominalTokens, shares);
      if (growth < best) {
        best = growth;
        chosen = index;
      }
    }
    if (chosen == slots.size())
      slots.push_back({});
    slots[chosen].size = slots[chosen].size.max(buffer.size);
    slots[chosen].freeAfter = buffer.last;
    buffer.slot = chosen;
  }
}

Linear Planner::rewrite(Value arena, Value maxTokens) {
  SmallVector<Linear> offsets;
  Linear total;
  for (const Slot &slot : slots) {
    offsets.push_back(total);
    total = total + slot.size;
  }
  for (Buffer &buffer : buffers) {
    OpBuilder b(buffer.alloc);
    Location loc = buffer.alloc.getLoc();
    const Linear &offset = offsets[buffer.slot];
    AffineExpr expr = toExpression(offset, shares, b.getContext());
    Value start = offset.isConstant()
                      ? arith::ConstantIndexOp::create(b, loc, offset.constant)
                            .getResult()
                      : affine::AffineApplyOp::create(
                            b, loc, AffineMap::get(0, 1, expr), maxTokens)
                            .getResult();
    Value view = memref::ViewOp::create(b, loc, buffer.alloc.getType(), arena,
                                        start, buffer.alloc.getDynamicSizes());
    buffer.alloc.replaceAllUsesWith(view);
    buffer.alloc.erase();
  }
  return total;
}

namespace {

struct PlanArenaPass : moe::impl::PlanArenaPassBase<PlanArenaPass> {
  void runOnOperation() override {
    for (auto interface : getOperation().getOps<moert::InterfaceOp>()) {
      FailureOr<func::FuncOp> function = moert::lookupFunction(interface);
      if (failed(function) || failed(plan(interface, *function)))
        return signalPassFailure();
    }
  }

  LogicalResult plan(moert::InterfaceOp interface, func::FuncOp function) {
    int64_t shares = ShapedType::getNumElements(
        coll::lookupGrid(interface, interface.getGridAttr()).getShape());
    Planner planner(function, shares);
    if (failed(planner.collect()))
      return failure();
    planner.assign();

    MLIRContext *context = &getContext();
    OpBuilder b(context);
    auto add = [&](Type type, StringRef mark) {
      unsigned index = function.getNumArguments();
      [[maybe_unused]] LogicalResult added = function.insertArgument(
          index, type,
          DictionaryAttr::get(context, b.getNamedAttr(mark, b.getUnitAttr())),
          function.getLoc());
      return function.getArgument(index);
    };
    Value arena = add(MemRefType::get({ShapedType::kDynamic}, b.getI8Type()),
                      "moert.arena");
    Value maxTokens = add(b.getIndexType(), "moert.max_tokens");
    int64_t unshared = 0;
    for (const Buffer &buffer : planner.buffers)
      unshared += buffer.size.at(kNominalTokens, shares);
    Linear total = planner.rewrite(arena, maxTokens);
    interface.setArenaAttr(moert::ArenaAttr::get(
        context, total.constant, total.perToken, total.perShare, shares));
    remark::passed(interface.getLoc(), remark::RemarkOpts::name("arena")
                                           .category("moe-plan-arena")
                                           .function(function.getName()))
        << remark::metric("bytes_at_4096_tokens",
                          std::to_string(total.at(kNominalTokens, shares)))
        << remark::metric("bytes_without_sharing", std::to_string(unshared));
    return success();
  }
};

} // namespace
