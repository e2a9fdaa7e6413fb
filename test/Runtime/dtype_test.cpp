// Conversions, over all values where there are few enough.
#include "dtype.h"

#include <bit>
#include <cmath>
#include <gtest/gtest.h>

using namespace moert;

// From the definition of the format, by another way than the code under test.
static double f16Value(uint16_t bits) {
  int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  double sign = bits & 0x8000 ? -1 : 1;
  if (exponent == 31)
    return mantissa ? NAN : sign * INFINITY;
  return exponent == 0 ? sign * std::ldexp(mantissa, -24)
                       : sign * std::ldexp(1024 + mantissa, exponent - 25);
}

TEST(Dtype, EveryHalfIsReadAndWrittenBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    uint16_t half = static_cast<uint16_t>(bits);
    float value = f16ToFloat(half);
    if (std::isnan(f16Value(half))) {
      EXPECT_TRUE(std::isnan(value));
      EXPECT_TRUE(std::isnan(f16Value(floatToF16(value))));
    } else {
      ASSERT_EQ(value, f16Value(half)) << bits;
      ASSERT_EQ(floatToF16(value), half) << bits;
    }
    float brain = bf16ToFloat(half);
    if (std::isnan(brain))
      EXPECT_TRUE(std::isnan(bf16ToFloat(floatToBf16(brain))));
    else
      ASSERT_EQ(floatToBf16(brain), half) << bits;
  }
}

// Between two neighbours: below the middle down, above up, on it to the even
// one.
template <typename Widen, typename Narrow>
static void checkRounding(uint16_t last, Widen widen, Narrow narrow) {
  for (uint16_t low = 0; low < last; ++low) {
    uint16_t high = static_cast<uint16_t>(low + 1);
    float middle =
        static_cast<float>((static_cast<double>(widen(low)) + widen(high)) / 2);
    uint16_t even = low % 2 == 0 ? low : high;
    ASSERT_EQ(narrow(middle), even) << low;
    ASSERT_EQ(narrow(std::nextafter(middle, 0.0f)), low) << low;
    ASSERT_EQ(narrow(std::nextafter(middle, INFINITY)), high) << low;
    ASSERT_EQ(narrow(-middle), even | 0x8000) << low;
  }
}

TEST(Dtype, RoundsToNearestEven) {
  checkRounding(0x7bff, f16ToFloat, floatToF16);
  checkRounding(0x7f7f, bf16ToFloat, floatToBf16);
  EXPECT_EQ(floatToF16(65519.0f), 0x7bff);
  EXPECT_EQ(floatToF16(65520.0f), 0x7c00);
  EXPECT_EQ(floatToF16(INFINITY), 0x7c00);
  EXPECT_EQ(floatToF16(-1e30f), 0xfc00);
  EXPECT_EQ(floatToBf16(std::numeric_limits<float>::max()), 0x7f80);
  // A NaN whose payload is only in the bits that are cut off.
  EXPECT_TRUE(
      std::isnan(bf16ToFloat(floatToBf16(std::bit_cast<float>(0x7f800001u)))));
}

TEST(Dtype, StridedConversion) {
  float source[] = {1, 2, 3, 4, 5, 6};
  uint16_t target[3] = {};
  convertElements(FileDtype::F32, source, 2, MOERT_BF16, target, 3);
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(bf16ToFloat(target[i]), source[2 * i]);
  float copy[3] = {};
  convertElements(FileDtype::F32, source + 5, -2, MOERT_F32, copy, 3);
  EXPECT_EQ(copy[2], 2);
  EXPECT_TRUE(canConvert(FileDtype::F64, MOERT_F16));
  EXPECT_TRUE(canConvert(FileDtype::I32, MOERT_I32));
  EXPECT_FALSE(canConvert(FileDtype::I32, MOERT_F32));
  EXPECT_FALSE(canConvert(FileDtype::F32, MOERT_I32));
  EXPECT_FALSE(canConvert(FileDtype::Other, MOERT_F32));
}
