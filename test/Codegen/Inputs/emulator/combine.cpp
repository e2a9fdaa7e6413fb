// The weighted sum of a token's rows, to the bit: f32, in ascending order of
// pairs, the addend last, rounded once.
#include "emulator.h"

#include <algorithm>

int main(int argc, char **argv) {
  readSettings(argc, argv);
  size_t columns = setting("columns"), topK = setting("top-k");
  bool weighted = setting("weights", 1), adds = setting("addend"),
       gated = setting("gate"), placed = setting("positions", 1);
  size_t count = tokens * topK;
  std::mt19937 random(setting("seed", 1));
  std::normal_distribution<float> normal;
  auto draw = [&](size_t size) {
    std::vector<uint16_t> values(size);
    for (uint16_t &value : values)
      value = emulator::toBf16(normal(random));
    return values;
  };
  std::vector<uint16_t> rows = draw(count * columns),
                        addend = draw(tokens * columns),
                        y(tokens * columns, 0x7FC0);
  std::vector<float> weights(count), gate(tokens);
  for (float &weight : weights)
    weight = normal(random);
  for (float &one : gate)
    one = normal(random);
  // Rows stand in any order; some pairs have none, and one token has none.
  std::vector<int> positions(count);
  for (size_t i = 0; i < count; ++i)
    positions[i] = static_cast<int>(i);
  std::shuffle(positions.begin(), positions.end(), random);
  for (size_t i = 0; i < count; ++i)
    if (random() % 4 == 0 || i / topK == 1)
      positions[i] = -1;
  arrays = {{"rows", rows.data()},       {"positions", positions.data()},
            {"weights", weights.data()}, {"addend", addend.data()},
            {"gate", gate.data()},       {"y", y.data()}};
  size_t threads = setting("threads"),
         parts = (columns + 8 * threads - 1) / (8 * threads);
  emulator::launch(static_cast<int>(tokens * parts), static_cast<int>(threads),
                   callKernel);
  for (size_t token = 0; token < size_t(tokens); ++token)
    for (size_t column = 0; column < columns; ++column) {
      float sum = 0;
      for (size_t j = 0; j < topK; ++j) {
        size_t pair = token * topK + j;
        if (placed && positions[pair] < 0)
          continue;
        float row = emulator::fromBf16(
            rows[(placed ? positions[pair] : pair) * columns + column]);
        sum = weighted ? std::fma(row, weights[pair], sum) : sum + row;
      }
      if (adds) {
        float more = emulator::fromBf16(addend[token * columns + column]);
        sum = gated ? std::fma(more, gate[token], sum) : sum + more;
      }
      if (y[token * columns + column] != emulator::toBf16(sum))
        emulator::fail("another sum than expected");
    }
  return 0;
}
