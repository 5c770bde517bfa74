// Q4_1: 32 elements, value = scale * q + min, q in 0..15, scale and min in F16 (ggml-common.h,
// block_q4_1). Byte i holds element i in its low half and element i + 16 in its high half.
#include <algorithm>

#include "formats/block_codec.h"
#include "formats/codecs.h"

namespace dunlin {
namespace {

struct Q4_1Block {
  static constexpr int64_t kElements = 32;
  static constexpr int64_t kGroup = 32;
  static constexpr bool kHasMin = true;
  uint8_t scale[2];
  uint8_t min[2];
  uint8_t nibbles[16];

  void unpack(UnpackedBlock out) const {
    out.scales[0] = load_float16(scale);
    out.mins[0] = load_float16(min);
    for (int i = 0; i < 16; ++i) {
      out.codes[i] = static_cast<int8_t>(nibbles[i] & 0x0f);
      out.codes[i + 16] = static_cast<int8_t>(nibbles[i] >> 4);
    }
  }
};
static_assert(sizeof(Q4_1Block) == 20);

void encode_block(const float* values, Q4_1Block& block) {
  const auto [lowest, highest] = std::minmax_element(values, values + 32);
  const float min = *lowest;
  const float scale = (*highest - min) / 15.0f;
  const float inverse = reciprocal_or_zero(scale);
  store_float16(scale, block.scale);
  store_float16(min, block.min);
  for (int i = 0; i < 16; ++i) {
    const int low = truncate_code((values[i] - min) * inverse + 0.5f, 15);
    const int high = truncate_code((values[i + 16] - min) * inverse + 0.5f, 15);
    block.nibbles[i] = static_cast<uint8_t>(low | high << 4);
  }
}

}  // namespace

void decode_q4_1(const std::byte* blocks, int64_t elements, float* values) {
  decode_blocks<Q4_1Block>(blocks, elements, values);
}

void decode_groups_q4_1(const std::byte* blocks, int64_t elements, int8_t* codes, float* scales,
                        float* mins) {
  decode_block_groups<Q4_1Block>(blocks, elements, codes, scales, mins);
}

void encode_q4_1(const float* values, int64_t elements, std::byte* blocks) {
  encode_blocks<Q4_1Block>(values, elements, blocks, encode_block);
}

}  // namespace dunlin
