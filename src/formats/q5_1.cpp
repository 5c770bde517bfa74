// Q5_1: 32 elements, value = scale * q + min, q in 0..31 (five_bits.h), scale and min in F16
// (ggml-common.h, block_q5_1).
#include "formats/block_codec.h"
#include "formats/codecs.h"
#include "formats/five_bits.h"
#include "formats/weighted_fit.h"

namespace dunlin {
namespace {

struct Q5_1Block {
  static constexpr int64_t kElements = 32;
  static constexpr int64_t kGroup = 32;
  static constexpr bool kHasMin = true;
  uint8_t scale[2];
  uint8_t min[2];
  FiveBitCodes codes;

  void unpack(UnpackedBlock out) const {
    out.scales[0] = load_float16(scale);
    out.mins[0] = load_float16(min);
    codes.unpack(0, out.codes);
  }
};
static_assert(sizeof(Q5_1Block) == 24);

void encode_block(const float* values, const float* importance, Q5_1Block& block) {
  const Samples<32> samples = load_samples<32>(values, importance);
  const Fit fit = search_scale_min<32>(samples.x, samples.w, 31, kAnyMin);
  const float scale = as_float16(fit.scale * samples.unit);
  const float min = as_float16(fit.min * samples.unit);
  store_float16(scale, block.scale);
  store_float16(min, block.min);
  float q[32];
  assign_codes<32>(samples.x, samples.w, scale / samples.unit, min / samples.unit, 0.0f, 31.0f, q);
  for (int i = 0; i < 32; ++i) block.codes.store(i, static_cast<int>(q[i]));
}

}  // namespace

void decode_q5_1(const std::byte* blocks, int64_t elements, float* values) {
  decode_blocks<Q5_1Block>(blocks, elements, values);
}

void decode_groups_q5_1(const std::byte* blocks, int64_t elements, int8_t* codes, float* scales,
                        float* mins) {
  decode_block_groups<Q5_1Block>(blocks, elements, codes, scales, mins);
}

void encode_q5_1(const float* values, int64_t elements, const float* importance,
                 std::byte* blocks) {
  encode_blocks<Q5_1Block>(values, elements, importance, blocks, encode_block);
}

}  // namespace dunlin
