// Q8_0: 32 elements, value = scale * q, q in -128..127 (the encoder uses -127..127), scale in F16
// (ggml-common.h, block_q8_0).
#include <algorithm>
#include <cmath>

#include "formats/block_codec.h"
#include "formats/codecs.h"
#include "formats/weighted_fit.h"

namespace dunlin {
namespace {

struct Q8_0Block {
  static constexpr int64_t kElements = 32;
  static constexpr int64_t kGroup = 32;
  static constexpr bool kHasMin = false;
  uint8_t scale[2];
  int8_t codes[32];

  void unpack(UnpackedBlock out) const {
    out.scales[0] = load_float16(scale);
    std::memcpy(out.codes, codes, sizeof(codes));
  }
};
static_assert(sizeof(Q8_0Block) == 34);

// Rounds half away from zero, as ggml does; NaN gives 0.
int8_t round_code(float value) {
  if (!(std::abs(value) <= 127.0f))
    return static_cast<int8_t>(value > 0.0f ? 127 : value < 0.0f ? -127 : 0);
  return static_cast<int8_t>(std::round(value));
}

// 255 levels leave a search nothing to gain, so importance is not looked at.
void encode_block(const float* values, const float* /*importance*/, Q8_0Block& block) {
  float magnitude = 0.0f;
  for (int k = 0; k < 32; ++k) magnitude = std::max(magnitude, std::abs(values[k]));
  const float scale = magnitude / 127.0f;
  const float inverse = reciprocal_or_zero(scale);
  store_float16(scale, block.scale);
  for (int k = 0; k < 32; ++k) block.codes[k] = round_code(values[k] * inverse);
}

}  // namespace

void decode_q8_0(const std::byte* blocks, int64_t elements, float* values) {
  decode_blocks<Q8_0Block>(blocks, elements, values);
}

void decode_groups_q8_0(const std::byte* blocks, int64_t elements, int8_t* codes, float* scales,
                        float* mins) {
  decode_block_groups<Q8_0Block>(blocks, elements, codes, scales, mins);
}

void encode_q8_0(const float* values, int64_t elements, const float* importance,
                 std::byte* blocks) {
  encode_blocks<Q8_0Block>(values, elements, importance, blocks, encode_block);
}

}  // namespace dunlin
