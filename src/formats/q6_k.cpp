// Q6_K: 256 elements in sixteen groups of 16, value = (d * s) * (q - 32), q in 0..63, d in F16, s a
// signed byte per group (ggml-common.h, block_q6_K).
#include "formats/block_codec.h"
#include "formats/codecs.h"
#include "formats/super_block_fit.h"

namespace dunlin {
namespace {

struct Q6_KBlock {
  static constexpr int64_t kElements = 256;
  static constexpr int64_t kGroup = 16;
  static constexpr bool kHasMin = false;
  uint8_t low[128];  // low four bits: per half of 128 elements, 64 bytes hold elements i (low half)
                     // and i + 64 (high)
  uint8_t high[64];  // high two bits: per half, byte i holds elements i, i + 32, i + 64, i + 96
                     // from the lowest bits up
  int8_t factors[16];
  uint8_t scale[2];  // d

  BlockFactors load_factors() const {
    BlockFactors out{load_float16(scale), 0.0f, {}, {}};
    std::memcpy(out.factors, factors, sizeof(factors));
    return out;
  }
  void unpack_codes(int8_t* codes) const {
    for (int part = 0; part < 8; ++part) {
      for (int i = 0; i < 32; ++i) {
        const int four = low[part / 4 * 64 + part % 2 * 32 + i] >> (part % 4 / 2 * 4) & 0x0f;
        const int two = high[part / 4 * 32 + i] >> (part % 4 * 2) & 0x03;
        codes[32 * part + i] = static_cast<int8_t>((four | two << 4) - 32);
      }
    }
  }
  void unpack(UnpackedBlock out) const { unpack_super_block(*this, out); }
};
static_assert(sizeof(Q6_KBlock) == 210);

constexpr SuperBlockLimits kLimits{.group = 16,
                                   .low_code = -32,
                                   .high_code = 31,
                                   .low_factor = -128,
                                   .high_factor = 127,
                                   .has_min = false};

void encode_block(const float* values, const float* importance, Q6_KBlock& block) {
  const EncodedSuperBlock encoded = SuperBlockSearch<kLimits>(values, importance).run();
  store_float16(encoded.factors.d, block.scale);
  std::memcpy(block.factors, encoded.factors.factors, sizeof(block.factors));
  for (int k = 0; k < 256; ++k) {
    const int code = encoded.codes[k] + 32;
    uint8_t& four = block.low[k / 128 * 64 + k % 64];
    uint8_t& two = block.high[k / 128 * 32 + k % 32];
    four = static_cast<uint8_t>(four | (code & 0x0f) << (k % 128 / 64 * 4));
    two = static_cast<uint8_t>(two | code >> 4 << (k % 128 / 32 * 2));
  }
}

}  // namespace

void decode_q6_k(const std::byte* blocks, int64_t elements, float* values) {
  decode_blocks<Q6_KBlock>(blocks, elements, values);
}

void decode_groups_q6_k(const std::byte* blocks, int64_t elements, int8_t* codes, float* scales,
                        float* mins) {
  decode_block_groups<Q6_KBlock>(blocks, elements, codes, scales, mins);
}

void decode_factors_q6_k(const std::byte* blocks, int64_t elements, FactorArrays out) {
  decode_block_factors<Q6_KBlock>(blocks, elements, out);
}

void encode_q6_k(const float* values, int64_t elements, const float* importance,
                 std::byte* blocks) {
  encode_blocks<Q6_KBlock>(values, elements, importance, blocks, encode_block);
}

}  // namespace dunlin
