// Q5_0: 32 elements, value = scale * (q - 16), q in 0..31 (five_bits.h), scale in F16
// (ggml-common.h, block_q5_0).
#include "formats/block_codec.h"
#include "formats/codecs.h"
#include "formats/five_bits.h"
#include "formats/weighted_fit.h"

namespace dunlin {
namespace {

struct Q5_0Block {
  static constexpr int64_t kElements = 32;
  static constexpr int64_t kGroup = 32;
  static constexpr bool kHasMin = false;
  uint8_t scale[2];
  FiveBitCodes codes;

  void unpack(UnpackedBlock out) const {
    out.scales[0] = load_float16(scale);
    codes.unpack(16, out.codes);
  }
};
static_assert(sizeof(Q5_0Block) == 22);

void encode_block(const float* values, const float* importance, Q5_0Block& block) {
  const Samples<32> samples = load_samples<32>(values, importance);
  const Fit fit = search_scale<32>(samples.x, samples.w, -16, 15);
  const float scale = as_float16(fit.scale * samples.unit);
  store_float16(scale, block.scale);
  float q[32];
  assign_codes<32>(samples.x, samples.w, scale / samples.unit, 0.0f, -16.0f, 15.0f, q);
  for (int i = 0; i < 32; ++i) block.codes.store(i, static_cast<int>(q[i]) + 16);
}

}  // namespace

void decode_q5_0(const std::byte* blocks, int64_t elements, float* values) {
  decode_blocks<Q5_0Block>(blocks, elements, values);
}

void decode_groups_q5_0(const std::byte* blocks, int64_t elements, int8_t* codes, float* scales,
                        float* mins) {
  decode_block_groups<Q5_0Block>(blocks, elements, codes, scales, mins);
}

void encode_q5_0(const float* values, int64_t elements, const float* importance,
                 std::byte* blocks) {
  encode_blocks<Q5_0Block>(values, elements, importance, blocks, encode_block);
}

}  // namespace dunlin
