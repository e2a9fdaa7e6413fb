// Both roles of a kernel walk the same schedule, a closed form of the tile's
// number and the offsets; with tickets the producer alone walks it.
#include "GroupedMatmulSchedule.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace moe;
using namespace moe::hopper;

TileSchedule::TileSchedule(DeviceBuilder &b, const GroupedMatmulSpec &spec,
                           const GroupedMatmulPlan &plan, Value offsets,
                           SplitWork *split, Value shared, Value rank)
    : b(b), spec(spec), plan(plan), offsets(offsets), split(split),
      shared(shared), rank(rank),
      kBlocks(llvm::divideCeil(spec.k, spec.getBlockElements())) {}

NextTileOp TileSchedule::find(Value number, Value expert, Value first) {
  Type i32 = b.getI32Type();
  SmallVector<Type> types{b.getI1Type(), i32, i32, i32, i32, i32};
  IntegerAttr equal;
  if (spec.tails)
    equal = b.getI64IntegerAttr(8 * spec.cluster);
  return NextTileOp::create(b, types, offsets, number, expert, first,
                            spec.experts, spec.n,
                            spec.tileTokens * spec.cluster, spec.tileWeights,
                            plan.passTiles, spec.rotate, equal);
}

Value TileSchedule::forEach(function_ref<void(OutputTile, Value)> body) {
  if (split)
    return forEachTicket(body);
  Value step = b.gridSize(), zero = b.i32(0);
  Value first = b.blockId();
  if (spec.cluster > 1) {
    step = b.div(step, spec.cluster);
    first = b.div(first, spec.cluster);
  }
  enum { Number, Expert, First, Position, Row, End, Column };
  auto last = b.loopWhile(
      {first, zero, zero, zero, zero, zero, zero},
      [&](ValueRange s) -> std::pair<Value, SmallVector<Value>> {
        NextTileOp next = find(s[Number], s[Expert], s[First]);
        return {next.getValid(),
                {s[Number], next.getNextExpert(), next.getNextFirst(),
                 s[Position], next.getRow(), next.getEnd(), next.getColumn()}};
      },
      [&](ValueRange s) -> SmallVector<Value> {
        body(ownPart({s[Expert], s[Row], s[End], s[Column], b.i32(0),
                      b.i32(kBlocks), Value()}),
             s[Position]);
        return {b.add(s[Number], step),
                s[Expert],
                s[First],
                b.add(s[Position], kBlocks),
                s[Row],
                s[End],
                s[Column]};
      });
  return last[Position];
}

/// The same for tickets, of which the first is the CTA's number.  The next one
/// is drawn at the beginning of a tile, so that it is there at the end.
Value TileSchedule::forEachTicket(function_ref<void(OutputTile, Value)> body) {
  Value zero = b.i32(0);
  // Two words for what gathering threads learn, in turn.
  auto ticketWord = [&](Value turn) {
    return b.atByte(shared, b.add(b.mul(turn, 4), plan.ticketOffset));
  };
  enum { Ticket, Expert, First, Position, Row, End, Column, Turn };
  auto last = b.loopWhile(
      {b.blockId(), zero, zero, zero, zero, zero, zero, zero},
      [&](ValueRange s) -> std::pair<Value, SmallVector<Value>> {
        NextTileOp next = find(split->getTile(s[Ticket]), s[Expert], s[First]);
        return {next.getValid(),
                {s[Ticket], next.getNextExpert(), next.getNextFirst(),
                 s[Position], next.getRow(), next.getEnd(), next.getColumn(),
                 s[Turn]}};
      },
      [&](ValueRange s) -> SmallVector<Value> {
        Value drawn = split->draw();
        Value part = split->getPart(s[Ticket]);
        KRange blocks = split->getBlocks(part);
        body({s[Expert], s[Row], s[End], s[Column], blocks.first, blocks.count,
              part},
             s[Position]);
        return {split->take(drawn, ticketWord(s[Turn])),
                s[Expert],
                s[First],
                b.add(s[Position], blocks.count),
                s[Row],
                s[End],
                s[Column],
                b.bitXor(s[Turn], 1)};
      });
  return last[Position];
}

/// Of the rows of a cluster's tile: the first half, rounded up to eight, or the
/// rest, which may be none.
OutputTile TileSchedule::ownPart(OutputTile tile) {
  if (spec.cluster == 1)
    return tile;
  Value rows = b.sub(tile.end, tile.row);
  Value half = b.mul(b.ceilDiv(rows, 8 * spec.cluster), 8);
  Value middle = b.min(b.add(tile.row, half), tile.end);
  Value isFirst = b.equal(rank, 0);
  tile.row = b.select(isFirst, tile.row, middle);
  tile.end = b.select(isFirst, middle, tile.end);
  return tile;
}
