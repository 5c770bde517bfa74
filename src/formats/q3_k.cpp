// Q3_K: 256 elements in sixteen groups of 16, value = (d * (s - 32)) * (q - 4), q in 0..7, d in F16,
// s of six bits per group (ggml-common.h, block_q3_K).
#include "formats/block_codec.h"
#include "formats/codecs.h"
#include "formats/super_block_fit.h"

namespace dunlin {
namespace {

struct Q3_KBlock {
  static constexpr int64_t kElements = 256;
  static constexpr int64_t kGroup = 16;
  static constexpr bool kHasMin = false;
  uint8_t high[32];     // bit j of byte i is the third bit of element 32 j + i
  uint8_t low[64];      // low two bits: per half of 128 elements, byte i holds elements i, i + 32,
                        // i + 64, i + 96 from the lowest bits up
  uint8_t factors[12];  // bytes 0-7: low four bits of s of groups 0-7 (low half) and 8-15 (high);
                        // bytes 8-11: byte i holds the high two bits of groups i, i + 4, i + 8,
                        // i + 12 from the lowest bits up
  uint8_t scale[2];     // d

  BlockFactors load_factors() const {
    BlockFactors out{load_float16(scale), 0.0f, {}, {}};
    for (int g = 0; g < 16; ++g) {
      const int four = factors[g % 8] >> (g / 8 * 4) & 0x0f;
      const int two = factors[8 + g % 4] >> (g / 4 * 2) & 0x03;
      out.factors[g] = static_cast<int8_t>((four | two << 4) - 32);
    }
    return out;
  }
  void unpack_codes(int8_t* codes) const {
    for (int part = 0; part < 8; ++part) {
      for (int i = 0; i < 32; ++i) {
        const int two = low[part / 4 * 32 + i] >> (part % 4 * 2) & 0x03;
        const int one = high[i] >> part & 0x01;
        codes[32 * part + i] = static_cast<int8_t>((two | one << 2) - 4);
      }
    }
  }
  void unpack(UnpackedBlock out) const { unpack_super_block(*this, out); }
};
static_assert(sizeof(Q3_KBlock) == 110);

constexpr SuperBlockLimits kLimits{.group = 16,
                                   .low_code = -4,
                                   .high_code = 3,
                                   .low_factor = -32,
                                   .high_factor = 31,
                                   .has_min = false};

void encode_block(const float* values, const float* importance, Q3_KBlock& block) {
  const EncodedSuperBlock encoded = SuperBlockSearch<kLimits>(values, importance).run();
  store_float16(encoded.factors.d, block.scale);
  for (int g = 0; g < 16; ++g) {
    const int s = encoded.factors.factors[g] + 32;
    uint8_t& four = block.factors[g % 8];
    uint8_t& two = block.factors[8 + g % 4];
    four = static_cast<uint8_t>(four | (s & 0x0f) << (g / 8 * 4));
    two = static_cast<uint8_t>(two | s >> 4 << (g / 4 * 2));
  }
  for (int k = 0; k < 256; ++k) {
    const int code = encoded.codes[k] + 4;
    uint8_t& two = block.low[k / 128 * 32 + k % 32];
    uint8_t& one = block.high[k % 32];
    two = static_cast<uint8_t>(two | (code & 0x03) << (k % 128 / 32 * 2));
    one = static_cast<uint8_t>(one | code >> 2 << (k / 32));
  }
}

}  // namespace

void decode_q3_k(const std::byte* blocks, int64_t elements, float* values) {
  decode_blocks<Q3_KBlock>(blocks, elements, values);
}

void decode_groups_q3_k(const std::byte* blocks, int64_t elements, int8_t* codes, float* scales,
                        float* mins) {
  decode_block_groups<Q3_KBlock>(blocks, elements, codes, scales, mins);
}

void decode_factors_q3_k(const std::byte* blocks, int64_t elements, FactorArrays out) {
  decode_block_factors<Q3_KBlock>(blocks, elements, out);
}

void encode_q3_k(const float* values, int64_t elements, const float* importance,
                 std::byte* blocks) {
  encode_blocks<Q3_KBlock>(values, elements, importance, blocks, encode_block);
}

}  // namespace dunlin
