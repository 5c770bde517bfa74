// The two orders of MXFP4's codes, bit by bit.
#include "formats/mxfp4.h"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "formats/codecs.h"

namespace dunlin {
namespace {

using Codes = std::array<std::byte, 16>;

int code_of_neighbours(const Codes& codes, size_t element) {
  const auto byte = std::to_integer<int>(codes[element / 2]);
  return element % 2 == 0 ? byte & 15 : byte >> 4;
}

int code_of_block(const Codes& codes, size_t element) {
  const auto byte = std::to_integer<int>(codes[element % 16]);
  return element < 16 ? byte & 15 : byte >> 4;
}

// Every bit alone, then bytes of all kinds.
TEST(Mxfp4, CodesChangeTheirOrderAndBack) {
  for (size_t test = 0; test < 128 + 64; ++test) {
    Codes neighbours{};
    if (test < 128) {
      neighbours[test / 8] = static_cast<std::byte>(1 << (test % 8));
    } else {
      for (size_t i = 0; i < 16; ++i)
        neighbours[i] = static_cast<std::byte>((test * 89 + i * 37 + i * i * 11) % 256);
    }
    Codes block{};
    neighbours_to_block(neighbours.data(), block.data());
    for (size_t element = 0; element < 32; ++element) {
      ASSERT_EQ(code_of_block(block, element), code_of_neighbours(neighbours, element))
          << test << ", element " << element;
    }
    Codes back{};
    block_to_neighbours(block.data(), back.data());
    EXPECT_EQ(back, neighbours) << test;
  }
}

// The order is that in which blocks are decoded.
TEST(Mxfp4, BlocksAreDecodedInThatOrder) {
  std::array<std::byte, kMxfp4BlockBytes> block{};
  block[0] = std::byte{127};
  Codes neighbours{};
  for (size_t i = 0; i < 16; ++i)
    neighbours[i] = static_cast<std::byte>((2 * i % 16) | (((2 * i + 1) % 16) << 4));
  neighbours_to_block(neighbours.data(), block.data() + 1);
  std::array<float, 32> values{};
  decode_mxfp4(block.data(), 32, values.data());
  for (size_t i = 0; i < 32; ++i) EXPECT_EQ(values[i], kFp4Values[i % 16]) << i;
}

// Every element with an exponent: the product of code and scale is the value.
TEST(Mxfp4, CodesTimesTheirScaleAreTheValues) {
  std::array<std::byte, kMxfp4BlockBytes> block{};
  for (size_t i = 0; i < 16; ++i) block[1 + i] = static_cast<std::byte>(i | (15 - i) << 4);
  std::array<float, 32> values{};
  std::array<int8_t, 32> codes{};
  float scale = -1.0f;
  for (int exponent = 2; exponent < 255; ++exponent) {
    block[0] = static_cast<std::byte>(exponent);
    decode_mxfp4(block.data(), 32, values.data());
    decode_groups_mxfp4(block.data(), 32, codes.data(), &scale, nullptr);
    for (size_t i = 0; i < 32; ++i) {
      EXPECT_EQ(static_cast<float>(codes[i]) * scale, values[i]) << exponent;
      EXPECT_LE(std::abs(codes[i]), 12);
    }
  }
}

// Where scales are denormal, where an exponent stands for no number, and where all is zero.
TEST(Mxfp4, CodesOfUnusualBlocksAreWhatKernelsMultiply) {
  std::array<std::byte, kMxfp4BlockBytes> block{};
  std::array<int8_t, 32> codes{};
  float scale = -1.0f;
  const auto decode = [&](int exponent, int byte) {
    block.fill(static_cast<std::byte>(byte));
    block[0] = static_cast<std::byte>(exponent);
    decode_groups_mxfp4(block.data(), 32, codes.data(), &scale, nullptr);
  };
  for (const int exponent : {0, 1}) {
    decode(exponent, 0x77);
    EXPECT_EQ(scale, 0.0f) << exponent;
  }
  decode(255, 0xf3);
  EXPECT_EQ(scale, 0x1p126f);
  EXPECT_EQ(codes[0], 6);
  EXPECT_EQ(codes[16], -12);
  for (const int exponent : {0, 127, 254, 255}) {
    decode(exponent, 0x80);
    EXPECT_EQ(scale, 0.5f) << exponent;
    EXPECT_EQ(codes[16], 0);
  }
}

}  // namespace
}  // namespace dunlin
