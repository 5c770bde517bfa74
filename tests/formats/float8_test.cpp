// The two 8-bit floats against torch: every code decoded, every positive bf16 number encoded
// (tools/make_float8_goldens.py).
#include "formats/float8.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "base/byte_source.h"
#include "base/float16.h"
#include "formats/format.h"

namespace dunlin {
namespace {

constexpr size_t kCodes = 256;
constexpr size_t kNumbers = 0x7f81;

struct Case {
  Float8Type type;
  Format format;
};
constexpr Case kCases[] = {{kE4M3, Format::f8_e4m3}, {kE5M2, Format::f8_e5m2}};

std::string golden(size_t type) {
  const auto text = read_text_file(DUNLIN_SOURCE_DIR "/tests/formats/data/float8.bin", 1 << 20);
  if (!text.ok()) throw std::runtime_error(text.error().message);
  const size_t bytes = kCodes * 4 + kNumbers;
  EXPECT_EQ(text->size(), bytes * std::size(kCases));
  return text->substr(type * bytes, bytes);
}

TEST(Float8, EveryCodeDecodesAsInTorch) {
  for (size_t i = 0; i < std::size(kCases); ++i) {
    const std::string data = golden(i);
    std::vector<float> expected(kCodes);
    std::memcpy(expected.data(), data.data(), kCodes * 4);
    std::vector<std::byte> codes(kCodes);
    for (size_t code = 0; code < kCodes; ++code) codes[code] = static_cast<std::byte>(code);
    std::vector<float> values(kCodes);
    traits(kCases[i].format).decode(codes.data(), kCodes, values.data());
    for (size_t code = 0; code < kCodes; ++code) {
      if (std::isnan(expected[code])) {
        EXPECT_TRUE(std::isnan(values[code])) << code;
      } else {
        EXPECT_EQ(std::bit_cast<uint32_t>(values[code]), std::bit_cast<uint32_t>(expected[code]))
            << code;
      }
      // Exact in bf16, which the CPU back end packs.
      if (!std::isnan(expected[code])) {
        EXPECT_EQ(to_float(to_bfloat16(values[code])), values[code]);
      }
    }
  }
}

TEST(Float8, EveryBf16NumberEncodesAsInTorch) {
  for (size_t i = 0; i < std::size(kCases); ++i) {
    const std::string data = golden(i);
    for (size_t bits = 0; bits < kNumbers; ++bits) {
      const float value = to_float(bfloat16{static_cast<uint16_t>(bits)});
      const auto expected = static_cast<uint8_t>(data[kCodes * 4 + bits]);
      ASSERT_EQ(to_float8(kCases[i].type, value), expected) << bits;
      ASSERT_EQ(to_float8(kCases[i].type, -value), expected | 0x80) << bits;
    }
  }
}

TEST(Float8, TiesGoToEvenAndNanStaysNan) {
  // Between 1 and 1.125, and one bit of float32 to either side, which bf16 does not have.
  EXPECT_EQ(to_float8(kE4M3, 1.0625f), 0x38);
  EXPECT_EQ(to_float8(kE4M3, std::nextafter(1.0625f, 2.0f)), 0x39);
  EXPECT_EQ(to_float8(kE4M3, 1.1875f), 0x3a);
  EXPECT_EQ(to_float8(kE4M3, std::nextafter(1.1875f, 0.0f)), 0x39);
  // Half of the smallest value goes to zero, a little more to it.
  EXPECT_EQ(to_float8(kE4M3, 0x1p-10f), 0x00);
  EXPECT_EQ(to_float8(kE4M3, std::nextafter(0x1p-10f, 1.0f)), 0x01);
  EXPECT_EQ(to_float8(kE5M2, 0x1p-17f), 0x00);
  EXPECT_EQ(to_float8(kE5M2, -std::nextafter(0x1p-17f, 1.0f)), 0x81);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const Case& each : kCases)
    EXPECT_TRUE(std::isnan(float8_value(each.type, to_float8(each.type, nan))));
}

}  // namespace
}  // namespace dunlin
