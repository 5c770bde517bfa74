// Character classes of the pre-tokeniser patterns, one byte per code point in a two-stage table:
// \p{L}, \p{N}, \s, what may stand in the upper and in the lower part of an o200k word, and whether
// NFC can change the character.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace dunlin {

// Bits of a class byte.
inline constexpr uint8_t kLetter = 1;   // \p{L}
inline constexpr uint8_t kNumber = 2;   // \p{N}
inline constexpr uint8_t kSpace = 4;    // \s, which is White_Space
inline constexpr uint8_t kNewline = 8;  // CR and LF; always together with kSpace
inline constexpr uint8_t kNfcInert =
    16;  // unchanged by NFC, and a normalisation boundary lies before it
inline constexpr uint8_t kUpperPart = 32;  // [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]
inline constexpr uint8_t kLowerPart = 64;  // [\p{Ll}\p{Lm}\p{Lo}\p{M}]

class UnicodeClasses {
 public:
  // Built at the first call (about 10 ms) and shared by all threads.
  static const UnicodeClasses& instance();

  uint8_t of(char32_t code_point) const noexcept {
    return blocks_[block_of_[code_point >> 8] * size_t{256} + (code_point & 0xFF)];
  }
  uint8_t of_ascii(unsigned char c) const noexcept { return blocks_[c]; }

 private:
  UnicodeClasses();

  std::array<uint16_t, 0x1100> block_of_;  // of code point / 256
  std::vector<uint8_t> blocks_;  // the distinct blocks of 256 code points, that of ASCII first
};

}  // namespace dunlin
