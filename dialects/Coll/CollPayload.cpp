// The bytes that each collective moves, as functions of its counts: what a
// communicator counts when it runs.
#include "dialects/Coll/CollDialect.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cmath>

using namespace mlir;
using namespace moe;
using namespace moe::coll;

StringRef coll::defaultPayload(Operation *op) {
  auto collective = cast<Collective>(op);
  Value sent = collective.getSent();
  bool integers =
      sent &&
      isa<IntegerType>(cast<ShapedType>(sent.getType()).getElementType());
  return integers && collective.isFixedSize() ? "counts" : "rows";
}

// Bytes of `dims` elements of what is sent.
static double bytesOf(ShapedType type, ArrayRef<double> dims) {
  double bytes = type.getElementTypeBitWidth() / 8;
  for (double dim : dims)
    bytes *= dim;
  return bytes;
}

// What each member but `me` gets.
static SmallVector<double> toOthers(int64_t members, int64_t me,
                                    function_ref<double(int64_t)> bytes) {
  SmallVector<double> sent;
  for (int64_t peer = 0; peer < members; ++peer)
    sent.push_back(peer == me ? 0 : bytes(peer));
  return sent;
}

SmallVector<double> coll::sentBytes(Operation *op, int64_t me,
                                    ArrayRef<double> rows) {
  auto collective = cast<Collective>(op);
  auto type = cast<ShapedType>(collective.getSent().getType());
  int64_t members =
      groupSize(lookupGrid(op, collective.getGridAttr()), collective.getAxes());
  SmallVector<double> shape(type.getShape().begin(), type.getShape().end());
  if (!collective.getBlockCounts() && type.getRank() > 0 &&
      type.isDynamicDim(0))
    shape.front() = rows.front();
  ArrayRef<double> dims(shape);
  return TypeSwitch<Operation *, SmallVector<double>>(op)
      .Case<AllToAllVOp, ReduceScatterVOp>([&](Operation *) {
        double row = bytesOf(type, dims.drop_front());
        return toOthers(members, me,
                        [&](int64_t peer) { return rows[peer] * row; });
      })
      .Case([&](AllGatherVOp) { // my own block, to everybody
        double own = rows[me] * bytesOf(type, dims.drop_front());
        return toOthers(members, me, [&](int64_t) { return own; });
      })
      .Case<AllToAllOp, ReduceScatterOp>([&](Operation *) {
        double block = bytesOf(type, dims.drop_front());
        return toOthers(members, me, [&](int64_t) { return block; });
      })
      .Case([&](AllReduceOp) {
        // Peer's share of the sum goes there, then my share of it, done. The
        // first shares are one element longer.
        double element = bytesOf(type, {}),
               elements = bytesOf(type, dims) / element,
               each = std::floor(elements / members),
               longer = elements - each * members;
        auto share = [&](int64_t member) {
          return (each + (member < longer)) * element;
        };
        return toOthers(members, me,
                        [&](int64_t peer) { return share(peer) + share(me); });
      })
      .Default([&](Operation *) { // all_gather
        double all = bytesOf(type, dims);
        return toOthers(members, me, [&](int64_t) { return all; });
      });
}
