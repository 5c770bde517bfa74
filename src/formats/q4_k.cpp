// Q4_K: 256 elements in eight groups of 32, value = (d * s) * q - (dmin * m), q in 0..15, d and
// dmin in F16, s and m of six bits per group (ggml-common.h, block_q4_K).
#include "formats/block_codec.h"
#include "formats/codecs.h"
#include "formats/k_scales.h"
#include "formats/super_block_fit.h"

namespace dunlin {
namespace {

struct Q4_KBlock {
  static constexpr int64_t kElements = 256;
  static constexpr int64_t kGroup = 32;
  static constexpr bool kHasMin = true;
  SixBitScales scales;
  uint8_t nibbles[128];  // 32 bytes per pair of groups: the even group in the low halves, the odd
                         // one in the high

  BlockFactors load_factors() const { return scales.load(); }
  void unpack_codes(int8_t* codes) const {
    for (int part = 0; part < 8; ++part) {
      for (int i = 0; i < 32; ++i) {
        codes[32 * part + i] =
            static_cast<int8_t>(nibbles[part / 2 * 32 + i] >> (part % 2 * 4) & 0x0f);
      }
    }
  }
  void unpack(UnpackedBlock out) const { unpack_super_block(*this, out); }
};
static_assert(sizeof(Q4_KBlock) == 144);

constexpr SuperBlockLimits kLimits{.group = 32,
                                   .low_code = 0,
                                   .high_code = 15,
                                   .low_factor = 0,
                                   .high_factor = 63,
                                   .has_min = true};

void encode_block(const float* values, const float* importance, Q4_KBlock& block) {
  const EncodedSuperBlock encoded = SuperBlockSearch<kLimits>(values, importance).run();
  block.scales.store(encoded.factors);
  for (int k = 0; k < 256; ++k) {
    uint8_t& byte = block.nibbles[k / 64 * 32 + k % 32];
    byte = static_cast<uint8_t>(byte | encoded.codes[k] << (k % 64 / 32 * 4));
  }
}

}  // namespace

void decode_q4_k(const std::byte* blocks, int64_t elements, float* values) {
  decode_blocks<Q4_KBlock>(blocks, elements, values);
}

void decode_groups_q4_k(const std::byte* blocks, int64_t elements, int8_t* codes, float* scales,
                        float* mins) {
  decode_block_groups<Q4_KBlock>(blocks, elements, codes, scales, mins);
}

void decode_factors_q4_k(const std::byte* blocks, int64_t elements, FactorArrays out) {
  decode_block_factors<Q4_KBlock>(blocks, elements, out);
}

void encode_q4_k(const float* values, int64_t elements, const float* importance,
                 std::byte* blocks) {
  encode_blocks<Q4_KBlock>(values, elements, importance, blocks, encode_block);
}

}  // namespace dunlin
