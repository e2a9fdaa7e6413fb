// The counting sort against a stable sort: one CTA, or the counts of several
// CTAs and the places that follow from them.
#include "emulator.h"

#include <algorithm>

namespace {
int experts, slots, topK, group, bins, pairs, grid, warps, wrong;
std::vector<int> ids, table;

/// The bin of a pair that is kept, -1 for all others.
std::vector<int> keptBins(int &status) {
  int first = integers["first"];
  std::vector<int> result(pairs, -1);
  for (int pair = 0; pair < pairs; ++pair) {
    if (ids[pair] < 0 || ids[pair] >= experts) {
      status |= 1;
      continue;
    }
    int slot = setting("table")      ? table[ids[pair]]
               : setting("reversed") ? experts - 1 - ids[pair]
                                     : ids[pair];
    slot -= first;
    if (slot < 0 || slot >= slots)
      continue;
    int bin = slot / group, token = pair / topK * topK;
    bool repeated =
        std::count(result.begin() + token, result.begin() + pair, bin) > 0;
    // Only the first of a token's pairs stands in a bin of several slots.
    if (repeated && (group > 1 || topK > slots)) {
      status |= group == 1 ? 2 : 0;
      continue;
    }
    result[pair] = bin;
  }
  return result;
}

/// The CTA that a pair belongs to: each warp owns a run of whole steps.
int blockOf(int pair) {
  int all = grid * warps, steps = (pairs + 32 * all - 1) / (32 * all);
  return pair / (32 * steps) / warps;
}

void expectSame(const std::vector<int> &have, const std::vector<int> &want,
                const char *what) {
  for (size_t i = 0; i < want.size(); ++i)
    if (have[i] != want[i] && wrong++ < 5)
      printf("%s %zu is %d, expected %d\n", what, i, have[i], want[i]);
}
} // namespace

int main(int argc, char **argv) {
  readSettings(argc, argv);
  experts = setting("experts");
  slots = setting("slots", experts);
  topK = setting("top-k");
  group = setting("group", 1);
  bins = slots / group;
  pairs = tokens * topK;
  grid = setting("grid", 1);
  warps = setting("threads") / 32;
  // With `wild`, experts that do not exist; with `loose`, any of them twice.
  std::mt19937 random(setting("seed", 1));
  for (int token = 0; token < tokens; ++token) {
    std::vector<int> order(experts);
    for (int e = 0; e < experts; ++e)
      order[e] = e;
    std::shuffle(order.begin(), order.end(), random);
    for (int j = 0; j < topK; ++j)
      ids.push_back(setting("loose") ? int(random() % experts)
                                     : order[j % experts]);
  }
  if (setting("wild") && tokens > 2) {
    ids[topK] = -1;
    ids[2 * topK] = experts;
  }
  // Every other expert is elsewhere, and those that have no slot left.
  for (int e = 0; e < experts; ++e)
    table.push_back(e % 2 || e / 2 >= slots ? -1 - e : e / 2);
  integers = {{"pairs", pairs}, {"first", int(setting("first"))}};

  int wantStatus = 0;
  std::vector<int> kept = keptBins(wantStatus);
  std::vector<int> wantOffsets(bins + 1, 0), wantPositions(pairs, -1),
      wantOrder, wantCounts(grid * bins, 0);
  for (int bin = 0; bin < bins; ++bin) {
    for (int pair = 0; pair < pairs; ++pair)
      if (kept[pair] == bin) {
        wantPositions[pair] = static_cast<int>(wantOrder.size());
        wantOrder.push_back(pair);
        ++wantCounts[blockOf(pair) * bins + bin];
      }
    wantOffsets[bin + 1] = static_cast<int>(wantOrder.size());
  }

  bool onlyCounts = isSet("stage", "count");
  std::vector<int> counts =
      onlyCounts ? std::vector<int>(grid * bins, -7) : wantCounts;
  std::vector<int> order(pairs + 1, -7), rowTokens(pairs + 1, -7),
      positions(pairs + 1, -7), offsets(bins + 1, -7);
  int status = 0;
  arrays = {{"ids", pairs ? ids.data() : nullptr},
            {"slots", table.data()},
            {"counts", counts.data()},
            {"order", order.data()},
            {"tokens", rowTokens.data()},
            {"positions", positions.data()},
            {"offsets", offsets.data()},
            {"status", &status}};
  emulator::launch(grid, setting("threads"), callKernel);
  if (onlyCounts) {
    expectSame(counts, wantCounts, "count");
  } else {
    expectSame(order, wantOrder, "pair of row");
    expectSame(positions, wantPositions, "row of pair");
    expectSame(offsets, wantOffsets, "offset");
    order.resize(wantOrder.size());
    for (int &pair : order)
      pair /= topK;
    if (setting("tokens-too"))
      expectSame(rowTokens, order, "token of row");
  }
  if ((status != 0) != (wantStatus != 0) || (status & ~wantStatus)) {
    printf("status is %d, expected %d\n", status, wantStatus);
    ++wrong;
  }
  return wrong != 0;
}
