// The tiles that are timed on a machine (moe-run tune). A table may hold any
// legal tile; these are the ones that were the fastest for some rows of some
// layer, or close to it (benchmarks/gpu/results).
#include "Tiles.h"

#include "mlir/IR/Diagnostics.h"

using namespace mlir;
using namespace moe;

static TileChoice makeTile(int64_t tokens, int64_t weights, bool swap,
                           int64_t tails = 0) {
  TileChoice choice;
  choice.tileTokens = tokens;
  choice.tileWeights = weights;
  choice.swap = swap;
  choice.tails = tails;
  return choice;
}

/// Narrower tiles than 256 weights pay where a matrix is narrow itself.
static constexpr int64_t narrow = 768;

static std::vector<TileChoice> listTiles(const GroupedMatmulSpec &spec) {
  std::vector<TileChoice> tiles;
  for (int64_t tokens : {16, 32, 64, 128}) {
    tiles.push_back(makeTile(tokens, 128, /*swap=*/true));
    // Drawing tiles pays where weights are most of what moves.
    if (tokens <= 64 && !spec.fp8) {
      tiles.push_back(tiles.back());
      tiles.back().split = 1;
    }
  }
  if (spec.n > 128) {
    tiles.push_back(makeTile(128, 256, false));
    tiles.push_back(tiles.back());
    tiles.back().skipDead = true;
    if (!spec.fp8) {
      tiles.push_back(tiles.back());
      tiles.back().split = 1;
    }
  }
  for (int64_t weights : {64, 128, 192})
    if (spec.n % weights == 0 && spec.n <= narrow)
      tiles.push_back(makeTile(128, weights, false));
  // In a fixed order, or drawn.
  auto addTails = [&](int64_t tokens, int64_t weights, int64_t tails) {
    tiles.push_back(makeTile(tokens, weights, /*swap=*/true, tails));
    if (spec.fp8)
      return;
    tiles.push_back(tiles.back());
    tiles.back().split = 1;
  };
  // With tails a column tile is whole.
  if (spec.n % 128 == 0)
    addTails(256, 128, 16);
  if (spec.n % 256 == 0) {
    addTails(144, 256, 8);
    addTails(160, 256, 8);
    addTails(192, 256, 16);
  } else if (spec.n % 384 == 0) {
    addTails(128, 384, 16);
  }
  return tiles;
}

std::vector<TileCandidate> Tiles::listCandidates(Location loc,
                                                 const GroupedMatmulSpec &spec,
                                                 bool canMove) {
  // What the generator refuses is no candidate.
  ScopedDiagnosticHandler silent(loc.getContext(),
                                 [](Diagnostic &) { return success(); });
  std::vector<TileCandidate> candidates;
  bool isChoice = spec.gather && spec.gatherIndex && canMove;
  for (const TileChoice &tile : listTiles(spec)) {
    for (bool gather : {false, true}) {
      if (!isChoice && gather != spec.gather)
        continue;
      if (isChoice && gather && spec.fp8 && !tile.tails)
        continue; // whose rows are moved
      TileCandidate candidate;
      candidate.choice = tile;
      candidate.choice.gather = gather && isChoice;
      Bucket bucket = makeBucket(spec, candidate.choice, canMove);
      if (failed(verifyGroupedMatmul(bucket.product(),
                                     [&] { return emitError(loc); })))
        continue;
      bucket.early = true;
      bucket.mostRows = mostEarlyRows;
      candidate.buckets.push_back(bucket);
      bucket.early = false;
      bucket.mostRows = 0;
      candidate.buckets.push_back(bucket);
      candidates.push_back(candidate);
    }
  }
  return candidates;
}
