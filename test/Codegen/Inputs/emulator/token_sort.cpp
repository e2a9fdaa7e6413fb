// Sorting of (token, expert) pairs by one CTA, set against a stable sort;
// `tokens` is the number of pairs.
#include "emulator.h"

int main(int argc, char **argv) {
  readSettings(argc, argv);
  int pairs = setting("tokens"), experts = setting("experts"),
      topK = setting("top-k"), slots = setting("slots", experts),
      group = setting("group", 1), bins = slots / group;
  std::vector<int> ids(pairs), slotOf(experts, -1);
  for (int &id : ids)
    id = static_cast<int>(emulator::random() % experts);
  if (setting("bad"))
    ids.back() = experts;
  // Every second expert is elsewhere where not all are here.
  for (int expert = 0, next = 0; expert < experts && next < slots; ++expert)
    if (slots == experts || expert % 2)
      slotOf[expert] = next++;
  bool keepsFirst = group > 1 || topK > slots;
  std::vector<int> binOf(pairs, -1), wantOrder;
  bool named = false; // an expert that a token names twice is told
  for (int pair = 0; pair < pairs; ++pair) {
    int slot = ids[pair] < experts ? slotOf[ids[pair]] : -1;
    int bin = slot < 0 ? -1 : slot / group;
    for (int other = pair - pair % topK; keepsFirst && other < pair; ++other)
      if (bin >= 0 && ids[other] < experts && slotOf[ids[other]] >= 0 &&
          slotOf[ids[other]] / group == bin) {
        bin = -1;
        named |= group == 1;
      }
    binOf[pair] = bin;
  }
  std::vector<int> wantOffsets{0}, wantPositions(pairs, -1);
  for (int bin = 0; bin < bins; ++bin) {
    for (int pair = 0; pair < pairs; ++pair)
      if (binOf[pair] == bin) {
        wantPositions[pair] = static_cast<int>(wantOrder.size());
        wantOrder.push_back(pair);
      }
    wantOffsets.push_back(static_cast<int>(wantOrder.size()));
  }
  std::vector<int> order(pairs + 1, -7), tokens(pairs + 1, -7),
      positions(pairs + 1, -7), offsets(bins + 1, -7), status(1);
  arrays = {{"ids", pairs ? ids.data() : nullptr},
            {"slots", slotOf.data()},
            {"order", order.data()},
            {"tokens", tokens.data()},
            {"positions", positions.data()},
            {"offsets", offsets.data()},
            {"status", status.data()}};
  emulator::launch(1, setting("threads"), callKernel);
  if (status[0] != (setting("bad") ? 1 : named ? 2 : 0))
    emulator::fail("another status than expected");
  if (offsets != wantOffsets)
    emulator::fail("other offsets than expected");
  for (int pair = 0; pair < pairs; ++pair)
    if (positions[pair] != wantPositions[pair])
      emulator::fail("another position than expected");
  for (size_t row = 0; row < order.size(); ++row) {
    int want = row < wantOrder.size() ? wantOrder[row] : -7;
    if (order[row] != want || tokens[row] != (want < 0 ? -7 : want / topK))
      emulator::fail("another order than expected");
  }
  return 0;
}
