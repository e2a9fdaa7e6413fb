#include "comm/sum.h"

#include "dtype.h"

#include <algorithm>

using namespace moert;

namespace {
struct F32 {
  using Stored = float;
  using Sum = float;
  static float load(float value) { return value; }
  static float store(float value) { return value; }
};
struct BF16 {
  using Stored = uint16_t;
  using Sum = float;
  static float load(uint16_t value) { return bf16ToFloat(value); }
  static uint16_t store(float value) { return floatToBf16(value); }
};
struct F16 {
  using Stored = uint16_t;
  using Sum = float;
  static float load(uint16_t value) { return f16ToFloat(value); }
  static uint16_t store(float value) { return floatToF16(value); }
};
template <typename T> struct Integer {
  using Stored = T;
  using Sum = T;
  static T load(T value) { return value; }
  static T store(T value) { return value; }
};
} // namespace

template <typename Type>
static void sumAs(std::span<const void *const> sources, void *target,
                  int64_t count) {
  using Stored = typename Type::Stored;
  constexpr int64_t block = 1024; // sums of one block stay in the first cache
  typename Type::Sum sums[block];
  Stored *out = static_cast<Stored *>(target);
  for (int64_t begin = 0; begin < count; begin += block) {
    int64_t size = std::min(block, count - begin);
    const Stored *first = static_cast<const Stored *>(sources[0]) + begin;
    for (int64_t i = 0; i < size; ++i)
      sums[i] = Type::load(first[i]);
    for (const void *source : sources.subspan(1)) {
      const Stored *next = static_cast<const Stored *>(source) + begin;
      for (int64_t i = 0; i < size; ++i)
        sums[i] += Type::load(next[i]);
    }
    for (int64_t i = 0; i < size; ++i)
      out[begin + i] = Type::store(sums[i]);
  }
}

void moert::sumInOrder(moert_dtype dtype, std::span<const void *const> sources,
                       void *target, int64_t count) {
  switch (dtype) {
  case MOERT_F32:
    return sumAs<F32>(sources, target, count);
  case MOERT_BF16:
    return sumAs<BF16>(sources, target, count);
  case MOERT_F16:
    return sumAs<F16>(sources, target, count);
  case MOERT_I32:
    return sumAs<Integer<uint32_t>>(sources, target, count);
  case MOERT_I64:
    return sumAs<Integer<uint64_t>>(sources, target, count);
  case MOERT_F8E4M3: // no collective moves what weights alone may be
  case MOERT_I8:
    break;
  }
}
