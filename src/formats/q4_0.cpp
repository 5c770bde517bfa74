// Q4_0: 32 elements, value = scale * (q - 8), q in 0..15, scale in F16 (ggml-common.h, block_q4_0).
// Byte i holds element i in its low half and element i + 16 in its high half.
#include "formats/block_codec.h"
#include "formats/codecs.h"
#include "formats/weighted_fit.h"

namespace dunlin {
namespace {

struct Q4_0Block {
  static constexpr int64_t kElements = 32;
  static constexpr int64_t kGroup = 32;
  static constexpr bool kHasMin = false;
  uint8_t scale[2];
  uint8_t nibbles[16];

  void unpack(UnpackedBlock out) const {
    out.scales[0] = load_float16(scale);
    for (int i = 0; i < 16; ++i) {
      out.codes[i] = static_cast<int8_t>((nibbles[i] & 0x0f) - 8);
      out.codes[i + 16] = static_cast<int8_t>((nibbles[i] >> 4) - 8);
    }
  }
};
static_assert(sizeof(Q4_0Block) == 18);

void encode_block(const float* values, const float* importance, Q4_0Block& block) {
  const Samples<32> samples = load_samples<32>(values, importance);
  const Fit fit = search_scale<32>(samples.x, samples.w, -8, 7);
  const float scale = as_float16(fit.scale * samples.unit);
  store_float16(scale, block.scale);
  float q[32];
  assign_codes<32>(samples.x, samples.w, scale / samples.unit, 0.0f, -8.0f, 7.0f, q);
  for (int i = 0; i < 16; ++i) {
    const int low = static_cast<int>(q[i]) + 8;
    const int high = static_cast<int>(q[i + 16]) + 8;
    block.nibbles[i] = static_cast<uint8_t>(low | high << 4);
  }
}

}  // namespace

void decode_q4_0(const std::byte* blocks, int64_t elements, float* values) {
  decode_blocks<Q4_0Block>(blocks, elements, values);
}

void decode_groups_q4_0(const std::byte* blocks, int64_t elements, int8_t* codes, float* scales,
                        float* mins) {
  decode_block_groups<Q4_0Block>(blocks, elements, codes, scales, mins);
}

void encode_q4_0(const float* values, int64_t elements, const float* importance,
                 std::byte* blocks) {
  encode_blocks<Q4_0Block>(values, elements, importance, blocks, encode_block);
}

}  // namespace dunlin
