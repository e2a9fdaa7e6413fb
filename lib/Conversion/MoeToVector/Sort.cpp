// A counting sort by one thread, which is quick beside the products. First
// pass: check each id, note its bin (slot, or group of slots) in `positions`,
// count. Second pass: put the pairs in their order, which keeps the order
// within a bin.
#include "Team.h"
#include "dialects/Moe/MoeDialect.h"
#include "dialects/Moert/MoertDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "moe/Conversion/MoeToVector.h"
#include "moe/Conversion/TeamLoops.h"

using namespace mlir;
using namespace moe;

namespace {

// One op's values while it is lowered.
struct Sorting {
  SortOp op;
  ImplicitLocOpBuilder &b;
  Value ids, order, positions, offsets;
  Value slotOf;  // expert -> slot
  Value seen;    // expert -> last token that named it, -1 before
  Value stands;  // bin -> last token that stands in it, -1 before; only where a
                 // bin has several slots
  Value cursors; // bin -> rows counted, then next row to be filled
  Value tokens;

  void initialise();
  void countPair(Value token, Value place);
  Value checkedSlot(Value id, Value token);
  Value binOf(Value expert, Value token);
  Value firstInBin(Value bin, Value token);
  void sumCounts();
  void placePair(Value token, Value place);
  void forEachPair(function_ref<void(Value token, Value place)> body);

  Value i32(int64_t value) {
    return arith::ConstantOp::create(b, b.getI32IntegerAttr(value));
  }
  Value index(int64_t value) { return team::constant(b, value); }
  void fill(Value buffer, int64_t count, int64_t value);
  // Adds one to an entry; returns what it was.
  Value increment(Value buffer, Value entry);
};

struct LowerSort : OpRewritePattern<SortOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(SortOp op,
                                PatternRewriter &rewriter) const override {
    auto ids = dyn_cast<MemRefType>(op.getIds().getType());
    if (op.getOuts().empty() || !ids || ids.isDynamicDim(1) ||
        !hasIdentityLayouts(op))
      return rewriter.notifyMatchFailure(
          op, "outs, a static number of experts per token and identity "
              "layouts are expected");
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    auto room = [&](int64_t count) {
      return team::scratch(b, MemRefType::get({count}, b.getI32Type()));
    };
    int64_t experts = op.getExperts(), bins = op.getBins();
    Value tokens = b.createOrFold<memref::DimOp>(op.getIds(), 0);
    Sorting sorting{op,
                    b,
                    op.getIds(),
                    op.getOuts()[0],
                    op.getOuts()[1],
                    op.getOuts()[2],
                    room(experts),
                    room(experts),
                    op.getGroup() > 1 ? room(bins) : Value(),
                    room(bins),
                    tokens};
    team::onFirstThread(b, [&](ImplicitLocOpBuilder &) {
      sorting.initialise();
      sorting.forEachPair(
          [&](Value token, Value place) { sorting.countPair(token, place); });
      sorting.sumCounts();
      sorting.forEachPair(
          [&](Value token, Value place) { sorting.placePair(token, place); });
    });
    meet(b);
    rewriter.eraseOp(op);
    return success();
  }
};

} // namespace

void Sorting::fill(Value buffer, int64_t count, int64_t value) {
  Value filler = i32(value);
  team::forLoop(b, index(0), index(count), 1,
                [&](ImplicitLocOpBuilder &, Value entry) {
                  memref::StoreOp::create(b, filler, buffer, entry);
                });
}

Value Sorting::increment(Value buffer, Value entry) {
  Value old = memref::LoadOp::create(b, buffer, entry);
  Value next = arith::AddIOp::create(b, old, i32(1));
  memref::StoreOp::create(b, next, buffer, entry);
  return old;
}

void Sorting::forEachPair(function_ref<void(Value, Value)> body) {
  team::forLoop(b, index(0), tokens, 1,
                [&](ImplicitLocOpBuilder &, Value token) {
                  team::forLoop(b, index(0), index(op.getTopK()), 1,
                                [&](ImplicitLocOpBuilder &, Value place) {
                                  body(token, place);
                                });
                });
}

void Sorting::initialise() {
  int64_t experts = op.getExperts();
  SmallVector<int32_t> table(experts, -1);
  for (auto [slot, expert] : llvm::enumerate(op.getSlots()))
    if (expert >= 0)
      table[expert] = slot;
  // The table is a constant of the program, stored piece by piece.
  constexpr int64_t piece = 16;
  for (int64_t first = 0; first < experts; first += piece) {
    int64_t size = std::min(piece, experts - first);
    auto type = VectorType::get(size, b.getI32Type());
    Value values = arith::ConstantOp::create(
        b, DenseIntElementsAttr::get(
               type, ArrayRef<int32_t>(table).slice(first, size)));
    vector::StoreOp::create(b, values, slotOf, index(first));
  }
  fill(seen, experts, -1);
  if (stands)
    fill(stands, op.getBins(), -1);
  fill(cursors, op.getBins(), 0);
}

// The bin of a pair, counted from the window's first: -1 where its slot is
// outside of the window, or an earlier pair of the token has the bin.
Value Sorting::binOf(Value expert, Value token) {
  Value slot = memref::LoadOp::create(b, slotOf, expert);
  int64_t group = op.getGroup();
  if (!op.getFirst() && group == 1)
    return slot;
  Value inside = slot;
  if (op.getFirst())
    inside = arith::SubIOp::create(
        b, slot, arith::IndexCastOp::create(b, b.getI32Type(), op.getFirst()));
  // Unsigned: slots before the window are far behind it.
  Value kept = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, inside,
                                     i32(op.getWindow()));
  if (group == 1)
    return arith::SelectOp::create(b, kept, inside, i32(-1));
  auto inWindow =
      scf::IfOp::create(b, b.getI32Type(), kept, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(inWindow.elseBlock());
  scf::YieldOp::create(b, i32(-1));
  b.setInsertionPointToStart(inWindow.thenBlock());
  Value bin = arith::DivUIOp::create(b, inside, i32(group));
  scf::YieldOp::create(b, firstInBin(bin, token));
  return inWindow.getResult(0);
}

// `bin` for the first pair of `token` (i32) in it, -1 for those after.
Value Sorting::firstInBin(Value bin, Value token) {
  Value entry = arith::IndexCastOp::create(b, b.getIndexType(), bin);
  Value last = memref::LoadOp::create(b, stands, entry);
  memref::StoreOp::create(b, token, stands, entry);
  Value again = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, last, token);
  return arith::SelectOp::create(b, again, i32(-1), bin);
}

// As above for an id that is not known to be right.
Value Sorting::checkedSlot(Value id, Value token) {
  Value valid = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, id,
                                      i32(op.getExperts()));
  Value wide = arith::IndexCastOp::create(b, b.getIndexType(), id);
  auto inRange =
      scf::IfOp::create(b, b.getI32Type(), valid, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(inRange.elseBlock());
  moert::FailOp::create(b, moert::Failure::ExpertId, wide,
                        index(op.getExperts()));
  scf::YieldOp::create(b, i32(-1));

  b.setInsertionPointToStart(inRange.thenBlock());
  Value number = arith::IndexCastOp::create(b, b.getI32Type(), token);
  Value last = memref::LoadOp::create(b, seen, wide);
  Value twice =
      arith::CmpIOp::create(b, arith::CmpIPredicate::eq, last, number);
  auto named =
      scf::IfOp::create(b, b.getI32Type(), twice, /*withElseRegion=*/true);
  scf::YieldOp::create(b, named.getResult(0));

  b.setInsertionPointToStart(named.thenBlock());
  moert::FailOp::create(b, moert::Failure::DuplicateId, wide, token);
  scf::YieldOp::create(b, i32(-1));
  b.setInsertionPointToStart(named.elseBlock());
  memref::StoreOp::create(b, number, seen, wide);
  scf::YieldOp::create(b, binOf(wide, number));
  return inRange.getResult(0);
}

void Sorting::countPair(Value token, Value place) {
  SmallVector<Value> indices = {token, place};
  Value id = memref::LoadOp::create(b, ids, indices);
  Value slot = checkedSlot(id, token);
  memref::StoreOp::create(b, slot, positions, indices);
  Value kept =
      arith::CmpIOp::create(b, arith::CmpIPredicate::sge, slot, i32(0));
  auto branch = scf::IfOp::create(b, kept, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  increment(cursors, arith::IndexCastOp::create(b, b.getIndexType(), slot));
}

// cursors and offsets become the sums of the counts before each slot.
void Sorting::sumCounts() {
  auto step = [&](ImplicitLocOpBuilder &, Value slot,
                  ValueRange rows) -> SmallVector<Value> {
    Value count = memref::LoadOp::create(b, cursors, slot);
    memref::StoreOp::create(b, rows.front(), cursors, slot);
    memref::StoreOp::create(b, rows.front(), offsets, slot);
    return {arith::AddIOp::create(b, rows.front(), count)};
  };
  Value last = index(op.getBins());
  Value rows = team::forLoop(b, index(0), last, 1, i32(0), step).front();
  memref::StoreOp::create(b, rows, offsets, last);
}

void Sorting::placePair(Value token, Value place) {
  SmallVector<Value> indices = {token, place};
  Value slot = memref::LoadOp::create(b, positions, indices);
  Value kept =
      arith::CmpIOp::create(b, arith::CmpIPredicate::sge, slot, i32(0));
  auto branch = scf::IfOp::create(b, kept, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  Value row =
      increment(cursors, arith::IndexCastOp::create(b, b.getIndexType(), slot));
  memref::StoreOp::create(b, row, positions, indices);
  Value pair = arith::AddIOp::create(
      b, arith::MulIOp::create(b, token, index(op.getTopK())), place);
  Value narrow = arith::IndexCastOp::create(b, b.getI32Type(), pair);
  Value wide = arith::IndexCastOp::create(b, b.getIndexType(), row);
  memref::StoreOp::create(b, narrow, order, wide);
}

void moe::populateSortToVector(RewritePatternSet &patterns) {
  patterns.add<LowerSort>(patterns.getContext());
}
