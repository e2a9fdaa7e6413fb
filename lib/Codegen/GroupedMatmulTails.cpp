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

/// Calls `body` with the side that the live tokens need.
static SmallVector<Value>
chooseSide(DeviceBuilder &b, ArrayRef<int64_t> sides, Value live,
           function_ref<SmallVector<Value>(int64_t)> body) {
  if (sides.size() == 1)
    return body(sides.front());
  size_t half = sides.size() / 2;
  return b.choose(
      b.less(sides[half - 1], live),
      [&] { return chooseSide(b, sides.drop_front(half), live, body); },
      [&] { return chooseSide(b, sides.take_front(half), live, body); });
}

/// There is no first block apart from the others: it is told at run time to
/// drop what the registers hold.  Of a single block that is so, but nobody may
/// know before the kernel runs: sums would get registers of their own.
static Value isLater(DeviceBuilder &b, const GroupedMatmulSpec &spec,
                     Value block, Value position) {
  return spec.k > spec.getBlockElements() ? b.less(0, block)
                                          : b.less(position, 0);
}

namespace {
/// The products of a tile whose side is one of `sides`.
class SideLoop {
public:
  SideLoop(DeviceBuilder &b, const SidesProduct &product,
           ArrayRef<int64_t> sides)
      : b(b), product(product), spec(product.spec), sides(sides) {}

  /// Gives the sums; what `sums` hold is dropped.
  SmallVector<Value> build(ValueRange sums);

private:
  SmallVector<Value> multiplyBlock(ValueRange sums);
  SmallVector<Value> multiplyGroup(Value group, ValueRange sums);
  SmallVector<Value> issue(int64_t side, Value group, Value keeps,
                           ValueRange sums);

  DeviceBuilder &b;
  const SidesProduct &product;
  const GroupedMatmulSpec &spec;
  ArrayRef<int64_t> sides;
  Value position, later; ///< of the block
};
} // namespace

/// Groups of wgmma that a block of K is cut into. Two fragments that take turns
/// after half a block are up to 6 % faster than after a whole one; after a
/// quarter some are 15 % slower.
static constexpr int64_t groupsOfBlock = 2;
/// A block of K has rows of 128 bytes, a step of wgmma 32.
static constexpr int64_t stepsOfBlock = 4;

/// From so many tokens on products hide how their side is found.
static constexpr int64_t longTile = 192;

SmallVector<Value> SideLoop::issue(int64_t side, Value group, Value keeps,
                                   ValueRange sums) {
  auto steps = b.getI64IntegerAttr(stepsOfBlock / groupsOfBlock);
  SmallVector<Value> next;
  for (auto [i, sum] : llvm::enumerate(sums))
    next.push_back(
        MmaOp::create(b, sum.getType(), product.ring, position, weightsTile,
                      b.add(product.firstRow, i * wgmmaRows), tokensTile, sum,
                      /*unless=*/keeps, group,
                      /*first=*/0, b.getI64IntegerAttr(side), steps));
  return next;
}

SmallVector<Value> SideLoop::multiplyGroup(Value group, ValueRange sums) {
  Value keeps = arith::OrIOp::create(b, later, b.less(0, group));
  SmallVector<Value> next =
      chooseSide(b, sides, product.live,
                 [&](int64_t side) { return issue(side, group, keeps, sums); });
  MmaThrottleOp::create(b, next.size());
  ReleaseOp::create(b, product.ring, b.sub(position, 1),
                    /*when=*/b.both(later, b.equal(group, 0)), spec.cluster);
  return next;
}

SmallVector<Value> SideLoop::multiplyBlock(ValueRange sums) {
  SmallVector<Value> next =
      b.loop(0, groupsOfBlock, sums, [&](Value group, ValueRange carried) {
        return multiplyGroup(group, carried);
      });
  b.keepRolled(next.front().getDefiningOp());
  return next;
}

SmallVector<Value> SideLoop::build(ValueRange sums) {
  Value last = b.sub(product.blocks, 1);
  SmallVector<Value> all =
      b.loop(0, product.blocks, sums,
             [&](Value block, ValueRange carried) -> SmallVector<Value> {
               position = b.add(product.start, block);
               later = isLater(b, spec, block, position);
               SmallVector<Value> next = multiplyBlock(carried);
               // The first stage was waited for with the note; behind the last
               // block its own one is, while its products run.
               Value following =
                   b.add(product.start, b.min(b.add(block, 1), last));
               product.beforeStage(following);
               WaitFullOp::create(b, product.ring, following, spec.gather);
               return next;
             });
  b.keepRolled(all.front().getDefiningOp());
  return all;
}

/// The products of one side in e4m3.  While one warpgroup scales its sums, the
/// other's products run: with products of its own in flight as well ptxas would
/// make all of them wait.
static SmallVector<Value> multiplyScaledSide(DeviceBuilder &b,
                                             const SidesProduct &product,
                                             ValueRange held, int64_t side) {
  const GroupedMatmulSpec &spec = product.spec;
  auto accType = AccumulatorType::get(b.getContext(), wgmmaRows, side);
  auto type = FragmentType::get(b.getContext(), wgmmaRows, side);
  SmallVector<Value> sums;
  for (Value whole : held)
    sums.push_back(TakeColumnsOp::create(b, type, whole, /*first=*/0));
  sums = b.loop(
      0, product.blocks, sums,
      [&](Value block, ValueRange carried) -> SmallVector<Value> {
        Value position = b.add(product.start, block);
        Value later = isLater(b, spec, block, position);
        product.beforeStage(position);
        WaitFullOp::create(b, product.ring, position, spec.gather);
        if (product.turns)
          product.turns->take();
        SmallVector<Value> next, weights;
        for (auto [i, sum] : llvm::enumerate(carried))
          next.push_back(MmaOp::create(
              b, accType, product.ring, position, weightsTile,
              b.add(product.firstRow, i * wgmmaRows), tokensTile,
              MmaResumeOp::create(b, accType, sum), /*unless=*/later));
        if (product.turns)
          product.turns->pass();
        for (Value index : product.weightFactors)
          weights.push_back(ReadFactorOp::create(
              b, b.getF32Type(), product.factors, position, index));
        auto wait = MmaWaitOp::create(b, next);
        for (auto [sum, values] : llvm::zip_equal(next, wait.getResults()))
          sum = ApplyFactorsOp::create(b, type, values, product.factors,
                                       position, weights);
        ReleaseOp::create(b, product.ring, position, /*when=*/b.boolean(true),
                          /*cluster=*/1);
        return next;
      });
  b.keepRolled(sums.front().getDefiningOp());
  for (auto [sum, whole] : llvm::zip_equal(sums, held)) {
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
  const GroupedMatmulSpec &spec = product.spec;
  if (product.factors)
    return chooseSide(b, product.sides, product.live, [&](int64_t side) {
      return multiplyScaledSide(b, product, held, side);
    });
  auto type = AccumulatorType::get(b.getContext(), wgmmaRows, spec.tileTokens);
  SmallVector<Value> sums;
  for (Value whole : held)
    sums.push_back(MmaResumeOp::create(b, type, whole));
  // ptxas takes some milliseconds for each loop and product: all sides have one
  // loop, which finds the side anew for each group, where that is hidden.
  if (sums.size() > 1 && spec.tileTokens >= longTile)
    sums = SideLoop(b, product, product.sides).build(sums);
  else
    sums = chooseSide(b, product.sides, product.live, [&](int64_t side) {
      return SideLoop(b, product, side).build(sums);
    });
  auto wait = MmaWaitOp::create(b, sums);
  ReleaseOp::create(b, product.ring,
                    b.add(product.start, b.sub(product.blocks, 1)),
                    /*when=*/Value(), spec.cluster);
  return llvm::to_vector_of<Value>(wait.getResults());
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
