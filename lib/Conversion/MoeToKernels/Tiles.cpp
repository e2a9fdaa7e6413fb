#include "Tiles.h"

#include "mlir/IR/Diagnostics.h"

#include <cmath>

using namespace mlir;
using namespace moe;

/// Weight rows from which rows are better moved first than gathered for each
/// tile of columns (benchmarks/gpu/results).
static constexpr int64_t wideWeights = 4096;

/// The rules for a matrix that was not measured (docs/GpuCodegen.md); limits in
/// mean rows per group.
static std::vector<TileBucket> rulesFor(const GroupedMatmulSpec &spec) {
  TileChoice few, some, many;
  few.tileTokens = 32;
  few.tileWeights = 128;
  few.swap = true;
  many.tileTokens = 128;
  many.tileWeights = spec.n <= 64                             ? 64
                     : spec.n <= 128                          ? 128
                     : spec.n % 256 != 0 && spec.n % 192 == 0 ? 192
                                                              : 256;
  some = many;
  some.skipDead = true;
  few.gather = some.gather = many.gather = spec.n < wideWeights;
  few.rows = 16;
  some.rows = 64;
  many.rows = INFINITY;
  if (spec.n % 256 != 0)
    return {{48, few}, {96, some}, {0, many}};
  // Tails pay until every tile is full; without an epilogue always.
  TileChoice tails = many;
  tails.tileTokens = 192;
  tails.swap = true;
  tails.tails = 16;
  if (!spec.isPaired())
    return {{48, few}, {96, some}, {0, tails}};
  return {{48, few}, {96, some}, {512, tails}, {0, many}};
}

/// The same for products of e4m3 (benchmarks/gpu/NOTES.md). Where k is short,
/// dead rows cost more than their products' time.
static std::vector<TileBucket> rulesForFp8(const GroupedMatmulSpec &spec) {
  TileChoice few, some, many;
  few.tileTokens = 16;
  few.tileWeights = 128;
  few.swap = true;
  some.tileTokens = many.tileTokens = 128;
  some.tileWeights = many.tileWeights = 256;
  some.skipDead = true;
  few.rows = 8;
  some.rows = 32;
  many.rows = INFINITY;
  return {{12, few}, {spec.k <= 1024 ? 512.0 : 96.0, some}, {0, many}};
}

GroupedMatmulSpec Bucket::product() const {
  GroupedMatmulSpec product = spec;
  if (moves) {
    product.gather = product.gatherIndex = false;
    product.gatherDivisor = 1;
  }
  return product;
}

/// Where k is shorter consumers are at the ends of tiles too often to gain by
/// turns (benchmarks/gpu/NOTES.md, run 26).
static constexpr int64_t leastDepthInTurn = 1024;

Bucket moe::makeBucket(const GroupedMatmulSpec &spec, const TileChoice &choice,
                       bool canMove) {
  Bucket bucket;
  bucket.spec = spec;
  choice.apply(bucket.spec);
  bucket.spec.rescale =
      spec.fp8 && (!bucket.spec.swap || bucket.spec.tails != 0);
  bucket.spec.inTurn =
      spec.fp8 && choice.tails && bucket.spec.k >= leastDepthInTurn;
  // Rows of e4m3 are gathered by tiles with tails alone.
  bool gathers = choice.gather && (!spec.fp8 || choice.tails);
  bucket.moves = spec.gatherIndex && spec.gather && canMove && !gathers;
  return bucket;
}

static bool isSame(const Bucket &a, const Bucket &b) {
  return a.spec == b.spec && a.moves == b.moves && a.early == b.early;
}

/// Puts the rules where nothing was measured.  Behind the last measurement it
/// holds where the rules no longer change: what is best for many rows depends
/// on the matrix more than on how many they are.
static std::vector<TileBucket> fillGaps(ArrayRef<TileBucket> measured,
                                        ArrayRef<TileBucket> rules) {
  std::vector<TileBucket> all;
  double from = 0;
  double settled = rules.size() > 1 ? rules.end()[-2].mostRows : 0;
  for (TileBucket bucket : measured) {
    double to = bucket.mostRows ? bucket.mostRows : INFINITY;
    if (!bucket.mostRows && from >= settled && !all.empty())
      bucket.choice = all.back().choice;
    if (bucket.choice)
      all.push_back(bucket);
    for (const TileBucket &rule : rules) {
      double end = rule.mostRows ? rule.mostRows : INFINITY;
      if (bucket.choice || end <= from)
        continue;
      double least = std::min(end, to);
      all.push_back({std::isinf(least) ? 0 : least, rule.choice});
      if (end >= to)
        break;
    }
    from = to;
  }
  return all;
}

std::vector<TileBucket> Tiles::plan(Location loc,
                                    const GroupedMatmulSpec &spec) {
  std::vector<TileBucket> rules = spec.fp8 ? rulesForFp8(spec) : rulesFor(spec);
  if (const TileEntry *entry =
          table.find(spec.k, spec.n, spec.isPaired(), spec.fp8))
    return fillGaps(entry->getBuckets(), rules);
  if (spec.fp8)
    return rules;
  if (unmeasured.insert({spec.k, spec.n, spec.isPaired()}).second)
    emitRemark(loc) << "the table of " << table.device
                    << " has no weights of k " << spec.k << ", n " << spec.n
                    << (spec.isPaired() ? " (gate and up)" : "")
                    << ": tiles follow general rules";
  return rules;
}

SmallVector<Bucket> Tiles::choose(Location loc, const GroupedMatmulSpec &spec,
                                  bool canMove, int64_t leastRows) {
  SmallVector<Bucket> buckets;
  for (const TileBucket &part : plan(loc, spec)) {
    Bucket bucket = makeBucket(spec, *part.choice, canMove);
    double most = std::floor(part.mostRows * spec.experts);
    if (part.mostRows && most < leastRows)
      continue;
    bucket.mostRows = static_cast<int64_t>(most);
    bucket.early = part.choice->rows * spec.experts <= mostEarlyRows;
    if (!buckets.empty() && isSame(buckets.back(), bucket))
      buckets.back().mostRows = bucket.mostRows;
    else
      buckets.push_back(bucket);
  }
  return buckets;
}

std::vector<int64_t> Tiles::fewTokens(const FewEntry &layer) const {
  if (const FewEntry *known = table.findFew(layer))
    return known->tokens;
  return {1};
}
