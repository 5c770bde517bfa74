// Steps of the GEMV ladder over the file's own layout that the compiler may vectorise, or are vectors
// along a channel's columns. Sums of whole numbers may be taken in any order.
#include <immintrin.h>

#include "backend/cpu/kernels/activations.h"
#include "backend/cpu/kernels/target.h"
#include "kernel_ladder.h"

DUNLIN_TARGET_AVX2
namespace dunlin::ladder {
namespace {

#include "kernel_ladder_stored.inl.h"

// Of eight lanes.
inline int32_t sum_of(__m256i x) {
  const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}

void gemv_blocked(const GemvArgs& args) noexcept {
  const auto* const tiles = reinterpret_cast<const Int8Tile<1>*>(args.activations);
  const int64_t blocks = args.columns / 32;
  for (int64_t channel = 0; channel < args.channels; ++channel) {
    float sum = 0;
    for (int64_t b = 0; b < blocks; ++b) {
      const uint8_t* const block = stored_block(args.stored, blocks, channel, b);
      int8_t codes[32];
      for (int k = 0; k < 16; ++k) {
        codes[k] = static_cast<int8_t>((block[2 + k] & 15) - 8);
        codes[16 + k] = static_cast<int8_t>((block[2 + k] >> 4) - 8);
      }
      const int8_t* const x = tiles[b].codes[0];
      int32_t dot = 0;
      for (int k = 0; k < 32; ++k) dot += codes[k] * x[k];
      const float scale = stored_scale(block) * tiles[b].scales[0];
      sum = __builtin_fmaf(static_cast<float>(dot), scale, sum);
    }
    args.y[channel] = sum;
  }
}

// Codes are 0 to 15 here, so that VPMADDUBSW multiplies them; eight times the sum of the activations is
// taken off, both whole numbers below 2^24.
void gemv_vectorised(const GemvArgs& args) noexcept {
  const auto* const tiles = reinterpret_cast<const Int8Tile<1>*>(args.activations);
  const int64_t blocks = args.columns / 32;
  const __m128i nibble = _mm_set1_epi8(15);
  const __m256i ones = _mm256_set1_epi16(1);
  for (int64_t channel = 0; channel < args.channels; ++channel) {
    float sum = 0;
    for (int64_t b = 0; b < blocks; ++b) {
      const uint8_t* const block = stored_block(args.stored, blocks, channel, b);
      const __m128i both = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block + 2));
      const __m128i low = _mm_and_si128(both, nibble);
      const __m128i high = _mm_and_si128(_mm_srli_epi16(both, 4), nibble);
      const __m256i codes = _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
      const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(tiles[b].codes[0]));
      const __m256i pairs = _mm256_maddubs_epi16(codes, x);
      const auto dot = static_cast<float>(sum_of(_mm256_madd_epi16(pairs, ones)));
      const float scale = stored_scale(block) * tiles[b].scales[0];
      sum = __builtin_fmaf(__builtin_fmaf(tiles[b].sums[0], -8.0f, dot), scale, sum);
    }
    args.y[channel] = sum;
  }
}

}  // namespace
}  // namespace dunlin::ladder
DUNLIN_TARGET_END

namespace dunlin::ladder {

StoredSteps stored_steps() {
  return {gemv_blocked, gemv_vectorised};
}

}  // namespace dunlin::ladder
