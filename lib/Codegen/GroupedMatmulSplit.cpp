// Few tiles leave the last wave ragged, and CTAs far from memory end late.  A
// counter hands out tiles, and the last ones in slices of K, so that all end
// together.  Slices are summed in their order by the CTA that finishes the last
// of a tile: what is cut depends on the tiles alone, never on the grid.
#include "GroupedMatmulSplit.h"

#include "dialects/Hopper/HopperDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace moe;
using namespace moe::hopper;

/// Words of the state before the counters of parts: a line for the tickets.
static constexpr int64_t firstCounter = 32;
/// The named barrier of gathering threads, after those of the consumers.
static constexpr int64_t ticketBarrier = consumers + 1;
/// Bits of the live rows of a tile in a code.
static constexpr int64_t liveBits = 16;

int64_t moe::getSplitStateBytes(const GroupedMatmulSpec &spec) {
  int64_t counters = spec.split > 1 ? spec.splitTiles * consumers : 0;
  return 4 * (firstCounter + counters);
}

int64_t moe::getSplitPartBytes(const GroupedMatmulSpec &spec) {
  if (spec.split <= 1)
    return 0;
  return 4 * spec.splitTiles * spec.split * spec.tileTokens * spec.tileWeights;
}

LogicalResult moe::verifySplit(const GroupedMatmulSpec &spec,
                               function_ref<InFlightDiagnostic()> emitError) {
  int64_t blocks = llvm::divideCeil(spec.k, spec.getBlockElements());
  if (spec.split < 0 || spec.split > blocks)
    return emitError() << "k of " << spec.k << " is split into " << spec.split
                       << " slices, expected 0 (tiles in a fixed order) to "
                       << blocks << ", one for each block of "
                       << spec.getBlockElements();
  if (!spec.split)
    return success();
  if (spec.fp8 || spec.cluster != 1 || (spec.tails && spec.split > 1))
    return emitError() << "split with "
                       << (spec.fp8            ? "fp8 operands"
                           : spec.cluster != 1 ? "clusters"
                                               : "slices of tails")
                       << " is not generated, expected neither fp8, clusters "
                          "nor, with tails, more than 1 slice";
  constexpr int64_t mostParts = (1 << (31 - liveBits)) - 2;
  if (spec.splitTiles < 1 || spec.splitTiles * spec.split > mostParts)
    return emitError() << "split of the last " << spec.splitTiles
                       << " tiles into " << spec.split
                       << " slices, expected 1 to " << mostParts / spec.split
                       << " tiles";
  return success();
}

SplitWork::SplitWork(DeviceBuilder &b, const GroupedMatmulSpec &spec,
                     Value state, Value parts)
    : b(b), spec(spec), state(state), parts(parts),
      kBlocks(llvm::divideCeil(spec.k, spec.getBlockElements())) {}

void SplitWork::count(Value offsets) {
  Value tiles = CountTilesOp::create(b, b.getI32Type(), offsets, spec.experts,
                                     spec.n, spec.tileTokens, spec.tileWeights);
  if (spec.split == 1) {
    whole = tickets = tiles;
    return;
  }
  whole = b.max(b.sub(tiles, spec.splitTiles), 0);
  tickets = b.add(whole, b.mul(b.sub(tiles, whole), spec.split));
}

Value SplitWork::getPart(Value ticket) {
  if (spec.split == 1)
    return b.i32(-1);
  return b.max(b.sub(ticket, whole), -1);
}

Value SplitWork::getTile(Value ticket) {
  if (spec.split == 1)
    return ticket;
  Value over = b.max(b.sub(ticket, whole), 0);
  return b.add(b.min(ticket, whole), b.div(over, spec.split));
}

Value SplitWork::draw() {
  Type i32 = b.getI32Type();
  if (!spec.gather) // one thread is here
    return DrawTicketOp::create(b, i32, state);
  auto drawn = scf::IfOp::create(b, TypeRange{i32}, isLeader(),
                                 /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(drawn.thenBlock());
  Value number = DrawTicketOp::create(b, i32, state);
  scf::YieldOp::create(b, number);
  b.setInsertionPointToStart(drawn.elseBlock());
  scf::YieldOp::create(b, b.i32(0));
  return drawn.getResult(0);
}

Value SplitWork::finishDraw(Value drawn) {
  b.ifThen(b.equal(drawn, b.sub(tickets, 1)),
           [&] { b.store(b.i32(0), b.toGlobal(state)); });
  // The first tickets are the CTAs' own numbers.
  return b.add(drawn, b.gridSize());
}

Value SplitWork::take(Value drawn, Value word) {
  if (!spec.gather)
    return finishDraw(drawn);
  b.ifThen(isLeader(), [&] { b.store(finishDraw(drawn), word); });
  NVVM::BarrierOp::create(b, Type(), b.i32(ticketBarrier), b.i32(128),
                          NVVM::BarrierReductionAttr(), Value());
  return b.load(b.getI32Type(), word);
}

KRange SplitWork::getBlocks(Value part) {
  if (spec.split == 1)
    return {b.i32(0), b.i32(kBlocks)};
  Value isWhole = b.less(part, 0);
  Value slice = b.rem(b.max(part, 0), spec.split);
  Value first = b.div(b.mul(slice, kBlocks), spec.split);
  Value end = b.div(b.mul(b.add(slice, 1), kBlocks), spec.split);
  return {b.select(isWhole, 0, first),
          b.select(isWhole, kBlocks, b.sub(end, first))};
}

Value SplitWork::encode(Value live, Value part) {
  if (spec.split == 1)
    return live;
  return b.bitOr(live, b.shl(b.add(part, 1), liveBits));
}

std::pair<Value, Value> SplitWork::decode(Value code) {
  if (spec.split == 1)
    return {code, b.i32(-1)};
  return {b.bitAnd(code, (1 << liveBits) - 1), b.sub(b.shr(code, liveBits), 1)};
}

Value SplitWork::getCell(Value part, Value consumer) {
  return b.add(b.mul(b.div(b.max(part, 0), spec.split), consumers), consumer);
}

Value SplitWork::leave(Value sums, Value part, Value consumer) {
  auto last = scf::IfOp::create(b, TypeRange{b.getI1Type()}, b.less(part, 0),
                                /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(last.thenBlock());
  scf::YieldOp::create(b, b.boolean(true));
  b.setInsertionPointToStart(last.elseBlock());
  Value cell = getCell(part, consumer);
  Value slice = b.rem(part, spec.split);
  StorePartOp::create(b, sums, parts, b.add(b.mul(cell, spec.split), slice));
  Value counters = b.atElement(state, b.getI32Type(), firstCounter);
  Value isLast =
      ArrivePartOp::create(b, b.getI1Type(), counters, cell, spec.split);
  scf::YieldOp::create(b, isLast);
  return last.getResult(0);
}

Value SplitWork::gather(Value sums, Value part, Value consumer) {
  auto total = scf::IfOp::create(b, TypeRange{sums.getType()}, b.less(part, 0),
                                 /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(total.thenBlock());
  scf::YieldOp::create(b, sums);
  b.setInsertionPointToStart(total.elseBlock());
  Value first = b.mul(getCell(part, consumer), spec.split);
  Value summed =
      SumPartsOp::create(b, sums.getType(), parts, first, spec.split);
  scf::YieldOp::create(b, summed);
  return total.getResult(0);
}
