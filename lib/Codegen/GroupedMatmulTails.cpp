#include "GroupedMatmulTails.h"

#include "dialects/Hopper/HopperDialect.h"

using namespace mlir;
using namespace moe;
using namespace moe::hopper;

SmallVector<Value> moe::createHeldFragments(DeviceBuilder &b,
                                            const GroupedMatmulSpec &spec,
                                            int64_t fragments) {
  auto whole = FragmentType::get(b.getContext(), wgmmaRows, spec.tileTokens);
  SmallVector<Value> held(fragments);
  for (Value &fragment : held)
    fragment = ZeroFragmentOp::create(b, whole);
  return held;
}

/// The products of one side.  There is no first block apart from the others: it
/// is told at run time to drop what the registers hold.
static SmallVector<Value> multiplySide(DeviceBuilder &b,
                                       const SidesProduct &product,
                                       ValueRange held, int64_t side) {
  const GroupedMatmulSpec &spec = product.spec;
  auto accType = AccumulatorType::get(b.getContext(), wgmmaRows, side);
  auto type = FragmentType::get(b.getContext(), wgmmaRows, side);
  SmallVector<Value> sums;
  for (Value whole : held)
    sums.push_back(MmaResumeOp::create(
        b, accType, TakeColumnsOp::create(b, type, whole, /*first=*/0)));
  Value last = b.sub(product.blocks, 1);
  sums = b.loop(0, product.blocks, sums,
                [&](Value block, ValueRange carried) -> SmallVector<Value> {
                  Value position = b.add(product.start, block);
                  // Of a single block it is false, but nobody may know before
                  // the kernel runs: sums would get registers of their own.
                  Value later = spec.k > spec.getBlockElements()
                                    ? b.less(0, block)
                                    : b.less(position, 0);
                  SmallVector<Value> next;
                  for (auto [i, sum] : llvm::enumerate(carried))
                    next.push_back(MmaOp::create(
                        b, accType, product.ring, position, weightsTile,
                        b.add(product.firstRow, i * wgmmaRows), tokensTile, sum,
                        /*unless=*/later, /*first=*/0));
                  MmaThrottleOp::create(b, carried.size());
                  ReleaseOp::create(b, product.ring, b.sub(position, 1),
                                    /*when=*/later, spec.cluster);
                  // The first stage was waited for with the note; behind the
                  // last block its own one is, while its products run.
                  Value following =
                      b.add(product.start, b.min(b.add(block, 1), last));
                  product.beforeStage(following);
                  WaitFullOp::create(b, product.ring, following, spec.gather);
                  return next;
                });
  b.keepRolled(sums.front().getDefiningOp());
  for (auto [sum, whole] : llvm::zip_equal(sums, held)) {
    sum = MmaWaitOp::create(b, type, sum);
    int64_t behind = spec.tileTokens - side;
    if (behind == 0)
      continue;
    Value rest = TakeColumnsOp::create(
        b, FragmentType::get(b.getContext(), wgmmaRows, behind), whole, side);
    sum = JoinColumnsOp::create(b, whole.getType(), ValueRange{sum, rest});
  }
  return sums;
}

SmallVector<Value> moe::multiplySides(DeviceBuilder &b,
                                      const SidesProduct &product,
                                      ValueRange held) {
  auto choose = [&](auto choose,
                    ArrayRef<int64_t> sides) -> SmallVector<Value> {
    if (sides.size() == 1)
      return multiplySide(b, product, held, sides.front());
    size_t half = sides.size() / 2;
    return b.choose(
        b.less(sides[half - 1], product.live),
        [&] { return choose(choose, sides.drop_front(half)); },
        [&] { return choose(choose, sides.take_front(half)); });
  };
  SmallVector<Value> sums = choose(choose, product.sides);
  Value last = b.add(product.start, b.sub(product.blocks, 1));
  ReleaseOp::create(b, product.ring, last, /*when=*/Value(),
                    product.spec.cluster);
  return sums;
}

/// Tokens whose epilogue is passed over together where none of them lives.
/// Where nothing is computed, a test costs about as much as 16 tokens do: a
/// product of 192 columns is 4 % faster with 48. Elsewhere with 32 some
/// products are half a per cent slower, with 64 up to 6.
int64_t moe::getPieceTokens(const GroupedMatmulSpec &spec) {
  bool computes = spec.isPaired() || spec.bias || spec.rowScale;
  if (!computes && spec.tileTokens % 48 == 0)
    return 48;
  return spec.tileTokens % 16 ? 8 : 16;
}

namespace {
/// A tile cut into pieces, which are packed and written fragment by fragment.
class PieceStore {
public:
  PieceStore(DeviceBuilder &b, const LiveStore &store, ValueRange sums,
             function_ref<Value(Piece)> epilogue)
      : b(b), store(store), epilogue(epilogue) {
    auto whole = cast<FragmentType>(sums.front().getType());
    pieceTokens = store.pieceTokens;
    auto type = FragmentType::get(b.getContext(), wgmmaRows, pieceTokens);
    for (int64_t first = 0; first < whole.getColumns(); first += pieceTokens) {
      SmallVector<Value> &piece = pieces.emplace_back();
      for (Value sum : sums)
        piece.push_back(TakeColumnsOp::create(b, type, sum, first));
    }
  }

  /// What is done with fragments `begin` .. `end` - 1.
  struct Steps {
    bool pack, write;
  };
  void forEachLive(int64_t begin, int64_t end, Steps steps) {
    for (auto [i, piece] : llvm::enumerate(pieces)) {
      int64_t first = i * pieceTokens;
      auto some = MutableArrayRef(piece).slice(begin, end - begin);
      auto step = [&] {
        SmallVector<Value> next(some);
        for (auto [f, values] : llvm::enumerate(next)) {
          if (steps.pack)
            values = PackOverOp::create(
                b, values.getType(),
                epilogue({values, static_cast<int64_t>(begin + f), first}),
                values);
          if (steps.write)
            WriteStagingOp::create(b, values, store.staging, f, first);
        }
        return next;
      };
      // Some token lives.
      SmallVector<Value> next =
          first == 0 ? step() : b.choose(b.less(first, store.live), step, [&] {
            return SmallVector<Value>(some);
          });
      llvm::copy(next, some.begin());
    }
  }

  /// The pieces of each fragment together.
  SmallVector<Value> join(TypeRange types) {
    SmallVector<Value> joined;
    for (auto [f, type] : llvm::enumerate(types)) {
      SmallVector<Value> all;
      for (const SmallVector<Value> &piece : pieces)
        all.push_back(piece[f]);
      joined.push_back(JoinColumnsOp::create(b, type, all));
    }
    return joined;
  }

private:
  DeviceBuilder &b;
  const LiveStore &store;
  function_ref<Value(Piece)> epilogue;
  SmallVector<SmallVector<Value>> pieces; ///< of all fragments each
  int64_t pieceTokens;
};
} // namespace

SmallVector<Value> moe::storeLive(DeviceBuilder &b, const LiveStore &store,
                                  ValueRange sums,
                                  function_ref<Value(Piece)> epilogue) {
  auto staging = cast<StagingType>(store.staging.getType());
  PieceStore tile(b, store, sums, epilogue);
  int64_t fragments = sums.size(), together = staging.getBuffers();
  for (int64_t begin = 0; begin < fragments; begin += together) {
    int64_t end = begin + together;
    // Fragments that wait for buffers of this tile are made ready meanwhile.
    bool waits = begin > 0;
    if (waits)
      tile.forEachLive(begin, end, {/*pack=*/true, /*write=*/false});
    AcquireStagingOp::create(b, store.staging);
    tile.forEachLive(begin, end, {/*pack=*/!waits, /*write=*/true});
    store.send(together,
               b.add(store.column, begin * staging.getBox().getColumns()));
  }
  return tile.join(sums.getTypes());
}
