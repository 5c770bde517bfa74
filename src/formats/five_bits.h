// The codes of Q5_0 and Q5_1 (ggml-common.h, block_q5_0): byte i of `nibbles` holds the low four bits of
// element i in its low half and of element i + 16 in its high half; bit i of `high` (little-endian) is
// the fifth bit of element i.
#pragma once

#include <cstdint>

namespace dunlin {

struct FiveBitCodes {
  uint8_t high[4];
  uint8_t nibbles[16];

  int fifth_bit(int i) const { return high[i / 8] >> (i % 8) & 1; }

  // 32 codes, each less `offset`.
  void unpack(int offset, int8_t* codes) const {
    for (int i = 0; i < 16; ++i) {
      codes[i] = static_cast<int8_t>(((nibbles[i] & 0x0f) | fifth_bit(i) << 4) - offset);
      codes[i + 16] = static_cast<int8_t>((nibbles[i] >> 4 | fifth_bit(i + 16) << 4) - offset);
    }
  }

  // The code, 0 to 31, of element i, whose bits are zero so far.
  void store(int i, int code) {
    nibbles[i % 16] = static_cast<uint8_t>(nibbles[i % 16] | (code & 15) << (i / 16 * 4));
    high[i / 8] = static_cast<uint8_t>(high[i / 8] | (code >> 4) << (i % 8));
  }
};
static_assert(sizeof(FiveBitCodes) == 20);

}  // namespace dunlin
