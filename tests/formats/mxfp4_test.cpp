// The two orders of MXFP4's codes, bit by bit.
#include "formats/mxfp4.h"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>

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

}  // namespace
}  // namespace dunlin
