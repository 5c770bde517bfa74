// Q4_0: 32 elements, value = scale * (q - 8), q in 0..15, scale in F16 (ggml-common.h, block_q4_0).
// Byte i holds element i in its low half and element i + 16 in its high half.
#include <cmath>

#include "formats/block_codec.h"
#include "formats/codecs.h"

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

// The element of largest magnitude (the first of several) becomes -8, which the codes reach and +8
// does not.
void encode_block(const float* values, Q4_0Block& block) {
  float largest = 0.0f;
  for (int k = 0; k < 32; ++k) {
    if (std::abs(values[k]) > std::abs(largest)) largest = values[k];
  }
  const float scale = largest / -8.0f;
  const float inverse = reciprocal_or_zero(scale);
  store_float16(scale, block.scale);
  for (int i = 0; i < 16; ++i) {
    const int low = truncate_code(values[i] * inverse + 8.5f, 15);
    const int high = truncate_code(values[i + 16] * inverse + 8.5f, 15);
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

void encode_q4_0(const float* values, int64_t elements, std::byte* blocks) {
  encode_blocks<Q4_0Block>(values, elements, blocks, encode_block);
}

}  // namespace dunlin
