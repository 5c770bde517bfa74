// Q6_K: 256 elements in sixteen groups of 16, value = (d * s) * (q - 32), q in 0..63, d in F16, s a
// signed byte per group (ggml-common.h, block_q6_K).
#include "formats/block_codec.h"
#include "formats/codecs.h"

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
  int8_t group_scales[16];
  uint8_t scale[2];

  void unpack(UnpackedBlock out) const {
    const float d = load_float16(scale);
    for (int group = 0; group < 16; ++group)
      out.scales[group] = d * static_cast<float>(group_scales[group]);
    for (int half = 0; half < 2; ++half) {
      for (int k = 0; k < 128; ++k) {
        const int four = low[half * 64 + k % 64] >> (k < 64 ? 0 : 4) & 0x0f;
        const int two = high[half * 32 + k % 32] >> (k / 32 * 2) & 0x03;
        out.codes[half * 128 + k] = static_cast<int8_t>((four | two << 4) - 32);
      }
    }
  }
};
static_assert(sizeof(Q6_KBlock) == 210);

}  // namespace

void decode_q6_k(const std::byte* blocks, int64_t elements, float* values) {
  decode_blocks<Q6_KBlock>(blocks, elements, values);
}

void decode_groups_q6_k(const std::byte* blocks, int64_t elements, int8_t* codes, float* scales,
                        float* mins) {
  decode_block_groups<Q6_KBlock>(blocks, elements, codes, scales, mins);
}

}  // namespace dunlin
