// Sixteen lanes on AVX-512: one register each. The interface that vector/*.inl.h is written
// against; scalar/simd.h defines what every function means.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "backend/cpu/kernels/target.h"

DUNLIN_TARGET_AVX512
namespace dunlin::avx512 {
namespace {

using Floats = __m512;
using Ints = __m512i;
using Mask = __mmask16;

constexpr int kPanelStripes = 2;    // stripes of a weight panel
constexpr int kPanelRows = 6;       // 6 x 2 even and odd sums: 24 of 32 registers
constexpr int kDirectRows = 8;      // rows that share one pass over 16-bit weights
constexpr int kInt8Rows = 8;        // rows that share one pass over integer weights
constexpr int kAttentionRows = 8;   // queries that share one pass over a page
constexpr bool kQ8Unsigned = true;  // dot_step_q8 multiplies code + 128

DUNLIN_INLINE Mask first_lanes(int64_t n) {
  return static_cast<Mask>(n >= 16 ? 0xffffu : (1u << n) - 1u);
}

DUNLIN_INLINE Floats zero() {
  return _mm512_setzero_ps();
}
DUNLIN_INLINE Floats broadcast(float x) {
  return _mm512_set1_ps(x);
}
DUNLIN_INLINE Floats load(const float* p) {
  return _mm512_loadu_ps(p);
}
DUNLIN_INLINE Floats load_first(const float* p, int64_t n) {
  return _mm512_maskz_loadu_ps(first_lanes(n), p);
}
DUNLIN_INLINE Floats load_f16(const std::byte* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
DUNLIN_INLINE void load_pairs(const float* p, Floats* even, Floats* odd) {
  const __m512i evens =
      _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const Floats low = load(p);
  const Floats high = load(p + 16);
  *even = _mm512_permutex2var_ps(low, evens, high);
  *odd = _mm512_permutex2var_ps(low, _mm512_add_epi32(evens, _mm512_set1_epi32(1)), high);
}
DUNLIN_INLINE void store(float* p, Floats x) {
  _mm512_storeu_ps(p, x);
}
DUNLIN_INLINE void store_first(float* p, Floats x, int64_t n) {
  _mm512_mask_storeu_ps(p, first_lanes(n), x);
}

DUNLIN_INLINE Floats add(Floats a, Floats b) {
  return _mm512_add_ps(a, b);
}
DUNLIN_INLINE Floats sub(Floats a, Floats b) {
  return _mm512_sub_ps(a, b);
}
DUNLIN_INLINE Floats mul(Floats a, Floats b) {
  return _mm512_mul_ps(a, b);
}
DUNLIN_INLINE Floats div(Floats a, Floats b) {
  return _mm512_div_ps(a, b);
}
DUNLIN_INLINE Floats fma(Floats a, Floats b, Floats c) {
  return _mm512_fmadd_ps(a, b, c);
}
DUNLIN_INLINE Floats min(Floats a, Floats b) {
  return _mm512_min_ps(a, b);
}
DUNLIN_INLINE Floats max(Floats a, Floats b) {
  return _mm512_max_ps(a, b);
}
DUNLIN_INLINE Floats abs(Floats x) {
  return _mm512_abs_ps(x);
}
DUNLIN_INLINE Floats negate(Floats x) {
  return _mm512_castsi512_ps(
      _mm512_xor_si512(_mm512_castps_si512(x), _mm512_set1_epi32(INT32_MIN)));
}
DUNLIN_INLINE Floats round_even(Floats x) {
  return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

DUNLIN_INLINE Mask less(Floats a, Floats b) {
  return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}
DUNLIN_INLINE Mask equal(Floats a, Floats b) {
  return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}
DUNLIN_INLINE Mask not_number(Floats x) {
  return _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
}
DUNLIN_INLINE Mask lanes_between(int64_t begin, int64_t end) {
  const Mask below_begin = first_lanes(begin < 0 ? 0 : begin);
  return static_cast<Mask>(first_lanes(end < 0 ? 0 : end) & ~below_begin);
}
DUNLIN_INLINE uint32_t bits(Mask mask) {
  return mask;
}
DUNLIN_INLINE Floats select(Mask mask, Floats yes, Floats no) {
  return _mm512_mask_blend_ps(mask, no, yes);
}

DUNLIN_INLINE Ints load_ints(const std::byte* p) {
  return _mm512_loadu_si512(p);
}
DUNLIN_INLINE Ints load_signed_bytes(const std::byte* p) {
  return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
DUNLIN_INLINE Ints load_unsigned_bytes(const std::byte* p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
DUNLIN_INLINE Ints broadcast_int(int32_t x) {
  return _mm512_set1_epi32(x);
}
DUNLIN_INLINE Ints as_ints(Floats x) {
  return _mm512_castps_si512(x);
}
DUNLIN_INLINE Floats as_floats(Ints x) {
  return _mm512_castsi512_ps(x);
}
DUNLIN_INLINE Ints add(Ints a, Ints b) {
  return _mm512_add_epi32(a, b);
}
DUNLIN_INLINE Ints sub(Ints a, Ints b) {
  return _mm512_sub_epi32(a, b);
}
DUNLIN_INLINE Ints bit_and(Ints a, Ints b) {
  return _mm512_and_si512(a, b);
}
DUNLIN_INLINE Ints bit_or(Ints a, Ints b) {
  return _mm512_or_si512(a, b);
}
DUNLIN_INLINE Ints bit_xor(Ints a, Ints b) {
  return _mm512_xor_si512(a, b);
}
template <int N>
DUNLIN_INLINE Ints shift_left(Ints x) {
  return _mm512_slli_epi32(x, N);
}
template <int N>
DUNLIN_INLINE Ints shift_right(Ints x) {
  return _mm512_srli_epi32(x, N);
}
template <int N>
DUNLIN_INLINE Ints shift_right_signed(Ints x) {
  return _mm512_srai_epi32(x, N);
}
DUNLIN_INLINE Floats to_floats(Ints x) {
  return _mm512_cvtepi32_ps(x);
}
DUNLIN_INLINE Ints to_ints(Floats x) {
  return _mm512_cvtps_epi32(x);
}
DUNLIN_INLINE void store_int8(int8_t* p, Ints x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(x));
}

// f16 bits in the low and in the high halves of the lanes.
DUNLIN_INLINE void split_f16(Ints pairs, Floats* even, Floats* odd) {
  *even = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(pairs));
  *odd = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(pairs, 16)));
}

DUNLIN_INLINE float first(Floats x) {
  return _mm512_cvtss_f32(x);
}
// The fixed tree: lane[i] += lane[i + s] for s = 8, 4, 2, 1.
DUNLIN_INLINE float fold_sum(Floats x) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
DUNLIN_INLINE float fold_max(Floats x) {
  const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}

DUNLIN_INLINE void prefetch(const std::byte* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
}

DUNLIN_INLINE int32_t four_codes(const int8_t* x) {
  int32_t word;
  __builtin_memcpy(&word, x, 4);
  return word;
}

constexpr int dot_steps(int /*bits*/) {
  return 8;
}
DUNLIN_INLINE Ints dot_step(Ints partial, Ints codes, Ints x) {
  return _mm512_dpbusd_epi32(partial, codes, x);
}
DUNLIN_INLINE Ints dot_total(Ints partial) {
  return partial;
}
DUNLIN_INLINE Ints dot_step_q8(Ints sum, Ints codes, Ints x) {
  return _mm512_dpbusd_epi32(sum, codes, x);
}

DUNLIN_INLINE Ints fp4_codes(Ints nibbles) {
  const __m512i codes = _mm512_broadcast_i32x4(
      _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
  return _mm512_shuffle_epi8(codes, nibbles);
}

// VPERMPS reads the low four bits of a lane only.
template <int C>
DUNLIN_INLINE Floats fp4_values(Ints line) {
  const Floats values = _mm512_setr_ps(0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f, 0.0f, -0.5f,
                                       -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f);
  return _mm512_permutexvar_ps(_mm512_srli_epi32(line, 8 * (C % 4) + 4 * (C / 4)), values);
}

}  // namespace
}  // namespace dunlin::avx512
DUNLIN_TARGET_END
