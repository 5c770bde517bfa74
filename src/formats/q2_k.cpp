// Q2_K: 256 elements in sixteen groups of 16, value = (d * s) * q - (dmin * m), q in 0..3, d and
// dmin in F16, s and m of four bits per group (ggml-common.h, block_q2_K).
#include "formats/block_codec.h"
#include "formats/codecs.h"
#include "formats/super_block_fit.h"

namespace dunlin {
namespace {

struct Q2_KBlock {
  static constexpr int64_t kElements = 256;
  static constexpr int64_t kGroup = 16;
  static constexpr bool kHasMin = true;
  uint8_t factors[16];  // s in the low half, m in the high
  uint8_t pairs[64];    // per half of 128 elements, byte i holds elements i, i + 32, i + 64, i + 96
                        // from the lowest bits up
  uint8_t scale[2];     // d
  uint8_t min[2];       // dmin

  BlockFactors load_factors() const {
    BlockFactors out{load_float16(scale), load_float16(min), {}, {}};
    for (int g = 0; g < 16; ++g) {
      out.factors[g] = static_cast<int8_t>(factors[g] & 0x0f);
      out.min_factors[g] = static_cast<int8_t>(factors[g] >> 4);
    }
    return out;
  }
  void unpack_codes(int8_t* codes) const {
    for (int part = 0; part < 8; ++part) {
      for (int i = 0; i < 32; ++i) {
        codes[32 * part + i] =
            static_cast<int8_t>(pairs[part / 4 * 32 + i] >> (part % 4 * 2) & 0x03);
      }
    }
  }
  void unpack(UnpackedBlock out) const { unpack_super_block(*this, out); }
};
static_assert(sizeof(Q2_KBlock) == 84);

constexpr SuperBlockLimits kLimits{.group = 16,
                                   .low_code = 0,
                                   .high_code = 3,
                                   .low_factor = 0,
                                   .high_factor = 15,
                                   .has_min = true};

void encode_block(const float* values, const float* importance, Q2_KBlock& block) {
  const EncodedSuperBlock encoded = SuperBlockSearch<kLimits>(values, importance).run();
  store_float16(encoded.factors.d, block.scale);
  store_float16(encoded.factors.dmin, block.min);
  for (int g = 0; g < 16; ++g) {
    block.factors[g] =
        static_cast<uint8_t>(encoded.factors.factors[g] | encoded.factors.min_factors[g] << 4);
  }
  for (int k = 0; k < 256; ++k) {
    uint8_t& byte = block.pairs[k / 128 * 32 + k % 32];
    byte = static_cast<uint8_t>(byte | encoded.codes[k] << (k % 128 / 32 * 2));
  }
}

}  // namespace

void decode_q2_k(const std::byte* blocks, int64_t elements, float* values) {
  decode_blocks<Q2_KBlock>(blocks, elements, values);
}

void decode_groups_q2_k(const std::byte* blocks, int64_t elements, int8_t* codes, float* scales,
                        float* mins) {
  decode_block_groups<Q2_KBlock>(blocks, elements, codes, scales, mins);
}

void decode_factors_q2_k(const std::byte* blocks, int64_t elements, FactorArrays out) {
  decode_block_factors<Q2_KBlock>(blocks, elements, out);
}

void encode_q2_k(const float* values, int64_t elements, const float* importance,
                 std::byte* blocks) {
  encode_blocks<Q2_KBlock>(values, elements, importance, blocks, encode_block);
}

}  // namespace dunlin
