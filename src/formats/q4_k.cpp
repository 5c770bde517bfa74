// Q4_K: 256 elements in eight groups of 32, value = (d * s) * q - (dmin * m), q in 0..15, d and
// dmin in F16, s and m of six bits per group (ggml-common.h, block_q4_K).
#include "formats/block_codec.h"
#include "formats/codecs.h"

namespace dunlin {
namespace {

struct Q4_KBlock {
  static constexpr int64_t kElements = 256;
  static constexpr int64_t kGroup = 32;
  static constexpr bool kHasMin = true;
  uint8_t scale[2];        // d
  uint8_t min[2];          // dmin
  uint8_t group_bits[12];  // bytes 0-3: s of groups 0-3, and in the top two bits the high bits of s
                           // of groups 4-7; bytes 4-7: the same of m; bytes 8-11: low four bits of
                           // s (low half) and m of groups 4-7
  uint8_t nibbles[128];    // 32 bytes per pair of groups: the even group in the low halves, the odd
                           // one in the high

  int group_scale(int group) const {
    if (group < 4) return group_bits[group] & 0x3f;
    return (group_bits[group + 4] & 0x0f) | (group_bits[group - 4] >> 6) << 4;
  }
  int group_min(int group) const {
    if (group < 4) return group_bits[group + 4] & 0x3f;
    return group_bits[group + 4] >> 4 | (group_bits[group] >> 6) << 4;
  }

  void unpack(UnpackedBlock out) const {
    const float d = load_float16(scale);
    const float dmin = load_float16(min);
    for (int group = 0; group < 8; ++group) {
      out.scales[group] = d * static_cast<float>(group_scale(group));
      out.mins[group] = -(dmin * static_cast<float>(group_min(group)));
    }
    for (int pair = 0; pair < 4; ++pair) {
      for (int i = 0; i < 32; ++i) {
        const uint8_t byte = nibbles[pair * 32 + i];
        out.codes[pair * 64 + i] = static_cast<int8_t>(byte & 0x0f);
        out.codes[pair * 64 + 32 + i] = static_cast<int8_t>(byte >> 4);
      }
    }
  }
};
static_assert(sizeof(Q4_KBlock) == 144);

}  // namespace

void decode_q4_k(const std::byte* blocks, int64_t elements, float* values) {
  decode_blocks<Q4_KBlock>(blocks, elements, values);
}

void decode_groups_q4_k(const std::byte* blocks, int64_t elements, int8_t* codes, float* scales,
                        float* mins) {
  decode_block_groups<Q4_KBlock>(blocks, elements, codes, scales, mins);
}

}  // namespace dunlin
