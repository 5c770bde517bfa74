// The twelve bytes in which Q4_K and Q5_K store eight six-bit factors s and eight six-bit minimum
// factors m (ggml-common.h, block_q4_K): bytes 0-3: s of groups 0-3, and in the top two bits the
// high bits of s of groups 4-7; bytes 4-7: the same of m; bytes 8-11: low four bits of s (low half)
// and m of groups 4-7.
#pragma once

#include <cstdint>

#include "formats/block_codec.h"

namespace dunlin {

struct SixBitFactors {
  uint8_t bytes[12];

  void load(BlockFactors& out) const {
    for (int g = 0; g < 4; ++g) {
      const int s = bytes[g];
      const int m = bytes[g + 4];
      const int low = bytes[g + 8];
      out.factors[g] = static_cast<int8_t>(s & 0x3f);
      out.min_factors[g] = static_cast<int8_t>(m & 0x3f);
      out.factors[g + 4] = static_cast<int8_t>((low & 0x0f) | s >> 6 << 4);
      out.min_factors[g + 4] = static_cast<int8_t>(low >> 4 | m >> 6 << 4);
    }
  }

  void store(const BlockFactors& in) {
    for (int g = 0; g < 4; ++g) {
      const int s = in.factors[g + 4];
      const int m = in.min_factors[g + 4];
      bytes[g] = static_cast<uint8_t>(in.factors[g] | s >> 4 << 6);
      bytes[g + 4] = static_cast<uint8_t>(in.min_factors[g] | m >> 4 << 6);
      bytes[g + 8] = static_cast<uint8_t>((s & 0x0f) | (m & 0x0f) << 4);
    }
  }
};
static_assert(sizeof(SixBitFactors) == 12);

// What the blocks of both begin with: d and dmin in F16, then the factors.
struct SixBitScales {
  uint8_t d[2];
  uint8_t dmin[2];
  SixBitFactors factors;

  BlockFactors load() const {
    BlockFactors out{load_float16(d), load_float16(dmin), {}, {}};
    factors.load(out);
    return out;
  }

  void store(const BlockFactors& in) {
    store_float16(in.d, d);
    store_float16(in.dmin, dmin);
    factors.store(in);
  }
};
static_assert(sizeof(SixBitScales) == 16);

}  // namespace dunlin
