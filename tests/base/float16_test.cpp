// Conversions of the 16-bit floats: every value of both, and rounding to nearest even.
#include "base/float16.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace dunlin {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// IEEE 754 binary16 from its definition.
float half_by_definition(uint16_t bits) {
  const int exponent = (bits >> 10) & 0x1f;
  const int mantissa = bits & 0x3ff;
  const float sign = (bits & 0x8000) != 0 ? -1.0f : 1.0f;
  if (exponent == 31)
    return mantissa == 0 ? sign * kInfinity : std::numeric_limits<float>::quiet_NaN();
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -24);
  return sign * std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
}

uint32_t bits_of(float value) {
  return std::bit_cast<uint32_t>(value);
}

TEST(Float16, EveryHalfConvertsByDefinitionAndBack) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float16 half{static_cast<uint16_t>(bits)};
    const float expected = half_by_definition(half.bits);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(to_float(half))) << bits;
      EXPECT_TRUE(std::isnan(to_float(to_float16(to_float(half))))) << bits;
      continue;
    }
    ASSERT_EQ(bits_of(to_float(half)), bits_of(expected)) << bits;
    ASSERT_EQ(to_float16(expected).bits, half.bits) << bits;
  }
}

// Between every two neighbours: the middle goes to the even one, and the floats beside the middle
// to the nearer one.
TEST(Float16, RoundsToNearestEven) {
  for (uint32_t bits = 0; bits < 0x7bff; ++bits) {
    const auto lower = static_cast<uint16_t>(bits);
    const auto upper = static_cast<uint16_t>(bits + 1);
    const float middle = 0.5f * (half_by_definition(lower) + half_by_definition(upper));  // exact
    ASSERT_EQ(to_float16(middle).bits, bits % 2 == 0 ? lower : upper) << bits;
    ASSERT_EQ(to_float16(std::nextafter(middle, 0.0f)).bits, lower) << bits;
    ASSERT_EQ(to_float16(std::nextafter(middle, kInfinity)).bits, upper) << bits;
    ASSERT_EQ(to_float16(-middle).bits, 0x8000 | (bits % 2 == 0 ? lower : upper)) << bits;
  }
}

TEST(Float16, OverflowIsInfinity) {
  EXPECT_EQ(to_float16(65504.0f).bits, 0x7bff);
  EXPECT_EQ(to_float16(std::nextafter(65520.0f, 0.0f)).bits, 0x7bff);
  EXPECT_EQ(to_float16(65520.0f).bits, 0x7c00);
  EXPECT_EQ(to_float16(-1e38f).bits, 0xfc00);
  EXPECT_EQ(to_float16(kInfinity).bits, 0x7c00);
}

TEST(Float16, TinyIsSignedZero) {
  EXPECT_EQ(to_float16(std::numeric_limits<float>::denorm_min()).bits, 0);
  EXPECT_EQ(to_float16(-1e-30f).bits, 0x8000);
  EXPECT_EQ(to_float16(-0.0f).bits, 0x8000);
}

TEST(Bfloat16, EveryValueConvertsBack) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const bfloat16 value{static_cast<uint16_t>(bits)};
    ASSERT_EQ(bits_of(to_float(value)), bits << 16);
    if (std::isnan(to_float(value))) {
      EXPECT_TRUE(std::isnan(to_float(to_bfloat16(to_float(value))))) << bits;
    } else {
      ASSERT_EQ(to_bfloat16(to_float(value)).bits, bits);
    }
  }
}

TEST(Bfloat16, RoundsToNearestEven) {
  for (const uint32_t high : {0x3f80u, 0x3f81u, 0x0000u, 0x0001u, 0x7f7eu, 0xbf81u}) {
    const auto round = [&](uint32_t low) {
      return to_bfloat16(std::bit_cast<float>(high << 16 | low)).bits;
    };
    EXPECT_EQ(round(0x7fff), high);
    EXPECT_EQ(round(0x8000), high + high % 2);
    EXPECT_EQ(round(0x8001), high + 1);
  }
  EXPECT_EQ(to_bfloat16(std::numeric_limits<float>::max()).bits, 0x7f80);  // rounds to infinity
}

TEST(Bfloat16, NanWithLowBitsStaysNan) {
  EXPECT_TRUE(std::isnan(to_float(to_bfloat16(std::bit_cast<float>(0x7f800001u)))));
  EXPECT_TRUE(std::isnan(to_float(to_bfloat16(std::bit_cast<float>(0xffffffffu)))));
}

}  // namespace
}  // namespace dunlin
