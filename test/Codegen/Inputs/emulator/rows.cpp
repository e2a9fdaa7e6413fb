// The small kernels on rows: moves, orders, counts and sums of several ranks.
// `what` says which.
#include "emulator.h"

#include <algorithm>
#include <numeric>

namespace {
std::mt19937 random(7);

template <typename T>
void expectSame(const std::vector<T> &have, const std::vector<T> &want,
                const char *what) {
  if (have != want)
    emulator::fail(what);
}

std::vector<uint16_t> normal(size_t count) {
  std::normal_distribution<float> distribution;
  std::vector<uint16_t> values(count);
  for (uint16_t &value : values)
    value = emulator::toBf16(distribution(random));
  return values;
}

/// Rows of bf16, or of words, which are two of them.
void moveRows(size_t threads) {
  size_t rows = setting("rows"), divisor = setting("divisor", 1),
         wide = setting("words") ? 2 : 1, columns = setting("columns"),
         size = columns * wide;
  bool weighted = setting("weights"), scatter = setting("scatter");
  std::vector<int> index(rows);
  std::iota(index.begin(), index.end(), 0);
  std::shuffle(index.begin(), index.end(), random);
  std::vector<uint16_t> x = normal(rows * size), y(rows * size, 0x7FC0),
                        want = y;
  std::vector<float> weights(rows);
  for (float &weight : weights)
    weight = emulator::fromBf16(normal(1)[0]);
  arrays = {{"x", x.data()},
            {"index", index.data()},
            {"weights", weights.data()},
            {"y", y.data()}};
  size_t each = threads * (wide == 2 ? 1 : 8),
         parts = (columns + each - 1) / each;
  emulator::launch(static_cast<int>(rows * parts), static_cast<int>(threads),
                   callKernel);
  for (size_t i = 0; i < rows; ++i) {
    size_t from = scatter ? i : index[i] / divisor, to = scatter ? index[i] : i;
    for (size_t c = 0; c < size; ++c) {
      uint16_t value = x[from * size + c];
      want[to * size + c] =
          weighted
              ? emulator::toBf16(emulator::fromBf16(value) * weights[index[i]])
              : value;
    }
  }
  expectSame(y, want, "another row than expected");
}

/// Rows by (source, slot) in the order of (slot, source), and each slot's
/// first.
void regroup(size_t threads) {
  size_t sources = setting("sources"), slots = setting("slots");
  std::vector<int> counts(sources * slots), first(sources * slots);
  int rows = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    counts[i] = random() % 3 ? random() % 70 : 0;
    first[i] = rows;
    rows += counts[i];
  }
  std::vector<int> order(rows, -7), offsets(slots + 1, -7), wantOrder,
      wantOffsets = {0};
  for (size_t slot = 0; slot < slots; ++slot) {
    for (size_t source = 0; source < sources; ++source)
      for (int i = 0; i < counts[source * slots + slot]; ++i)
        wantOrder.push_back(first[source * slots + slot] + i);
    wantOffsets.push_back(static_cast<int>(wantOrder.size()));
  }
  arrays = {{"counts", counts.data()},
            {"order", order.data()},
            {"offsets", offsets.data()}};
  emulator::launch(static_cast<int>(sources * slots), static_cast<int>(threads),
                   callKernel);
  expectSame(order, wantOrder, "another order than expected");
  expectSame(offsets, wantOffsets, "other offsets than expected");
}

void counts(size_t threads) {
  size_t count = setting("count");
  std::vector<int> offsets(count + 1, 0), have(count, -7), want(count);
  for (size_t i = 0; i < count; ++i) {
    want[i] = random() % 50;
    offsets[i + 1] = offsets[i] + want[i];
  }
  arrays = {{"offsets", offsets.data()}, {"counts", have.data()}};
  emulator::launch(static_cast<int>((count + threads - 1) / threads),
                   static_cast<int>(threads), callKernel);
  expectSame(have, want, "other counts than expected");
}

/// In f32, members in their order; the target is one of the sources.
void sumRanks(size_t threads) {
  size_t members = setting("members"), count = setting("count"),
         stride = count + 5;
  bool f32 = setting("f32");
  std::vector<uint16_t> half = normal(members * stride);
  std::vector<float> whole(members * stride);
  for (size_t i = 0; i < whole.size(); ++i)
    whole[i] = emulator::fromBf16(half[i]) * 1.01f;
  std::vector<uint16_t> wantHalf = half;
  std::vector<float> wantWhole = whole;
  for (size_t i = 0; i < count; ++i) {
    float sum = 0;
    for (size_t m = 0; m < members; ++m)
      sum += f32 ? whole[m * stride + i]
                 : emulator::fromBf16(half[m * stride + i]);
    wantHalf[stride + i] = emulator::toBf16(sum);
    wantWhole[stride + i] = sum;
  }
  if (f32)
    arrays = {{"source", whole.data()}, {"target", &whole[stride]}};
  else
    arrays = {{"source", half.data()}, {"target", &half[stride]}};
  integers = {{"count", int(count)},
              {"stride", int(stride)},
              {"members", int(members)}};
  emulator::launch(setting("grid"), static_cast<int>(threads), callKernel);
  if (f32)
    expectSame(whole, wantWhole, "other sums than expected");
  else
    expectSame(half, wantHalf, "other sums than expected");
}
} // namespace

int main(int argc, char **argv) {
  readSettings(argc, argv);
  size_t threads = setting("threads");
  if (isSet("what", "move"))
    moveRows(threads);
  else if (isSet("what", "regroup"))
    regroup(threads);
  else if (isSet("what", "counts"))
    counts(threads);
  else if (isSet("what", "sum"))
    sumRanks(threads);
  else
    emulator::fail("`what` is none of move, regroup, counts, sum");
  return 0;
}
