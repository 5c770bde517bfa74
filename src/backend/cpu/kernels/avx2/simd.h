// Sixteen lanes on AVX2: two registers each. The interface that vector/*.inl.h is written against;
// scalar/simd.h defines what every function means.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "backend/cpu/kernels/target.h"

DUNLIN_TARGET_AVX2
namespace dunlin::avx2 {
namespace {

struct Floats {
  __m256 low;
  __m256 high;
};
struct Ints {
  __m256i low;
  __m256i high;
};
struct Mask {
  __m256 low;
  __m256 high;
};

constexpr int kPanelStripes = 1;
constexpr int kPanelRows = 3;        // 3 x 2 even and odd sums: 12 of 16 registers
constexpr int kDirectRows = 2;       // rows that share one pass over 16-bit weights
constexpr int kInt8Rows = 4;         // rows that share one pass over integer weights
constexpr int kAttentionRows = 2;    // queries that share one pass over a page
constexpr bool kQ8Unsigned = false;  // dot_step_q8 multiplies the code itself

DUNLIN_INLINE Mask lanes_between(int64_t begin, int64_t end) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i next = _mm256_add_epi32(lane, _mm256_set1_epi32(8));
  const int32_t b = static_cast<int32_t>(begin < 0 ? 0 : begin > 16 ? 16 : begin);
  const int32_t e = static_cast<int32_t>(end < 0 ? 0 : end > 16 ? 16 : end);
  const __m256i before = _mm256_set1_epi32(b - 1);
  const __m256i after = _mm256_set1_epi32(e);
  const __m256i low =
      _mm256_and_si256(_mm256_cmpgt_epi32(lane, before), _mm256_cmpgt_epi32(after, lane));
  const __m256i high =
      _mm256_and_si256(_mm256_cmpgt_epi32(next, before), _mm256_cmpgt_epi32(after, next));
  return {_mm256_castsi256_ps(low), _mm256_castsi256_ps(high)};
}

DUNLIN_INLINE Floats zero() {
  return {_mm256_setzero_ps(), _mm256_setzero_ps()};
}
DUNLIN_INLINE Floats broadcast(float x) {
  return {_mm256_set1_ps(x), _mm256_set1_ps(x)};
}
DUNLIN_INLINE Floats load(const float* p) {
  return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
DUNLIN_INLINE Floats load_first(const float* p, int64_t n) {
  const Mask mask = lanes_between(0, n);
  return {_mm256_maskload_ps(p, _mm256_castps_si256(mask.low)),
          _mm256_maskload_ps(p + 8, _mm256_castps_si256(mask.high))};
}
DUNLIN_INLINE Floats load_f16(const std::byte* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
          _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 16)))};
}
DUNLIN_INLINE void split_eight(const float* p, __m256* even, __m256* odd) {
  const __m256 a = _mm256_loadu_ps(p);
  const __m256 b = _mm256_loadu_ps(p + 8);
  const __m256 evens = _mm256_shuffle_ps(a, b, 0x88);
  const __m256 odds = _mm256_shuffle_ps(a, b, 0xdd);
  *even = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(evens), 0xd8));
  *odd = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(odds), 0xd8));
}
DUNLIN_INLINE void load_pairs(const float* p, Floats* even, Floats* odd) {
  split_eight(p, &even->low, &odd->low);
  split_eight(p + 16, &even->high, &odd->high);
}
DUNLIN_INLINE void store(float* p, Floats x) {
  _mm256_storeu_ps(p, x.low);
  _mm256_storeu_ps(p + 8, x.high);
}
DUNLIN_INLINE void store_first(float* p, Floats x, int64_t n) {
  const Mask mask = lanes_between(0, n);
  _mm256_maskstore_ps(p, _mm256_castps_si256(mask.low), x.low);
  _mm256_maskstore_ps(p + 8, _mm256_castps_si256(mask.high), x.high);
}

DUNLIN_INLINE Floats add(Floats a, Floats b) {
  return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}
DUNLIN_INLINE Floats sub(Floats a, Floats b) {
  return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
}
DUNLIN_INLINE Floats mul(Floats a, Floats b) {
  return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
}
DUNLIN_INLINE Floats div(Floats a, Floats b) {
  return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)};
}
DUNLIN_INLINE Floats fma(Floats a, Floats b, Floats c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
DUNLIN_INLINE Floats min(Floats a, Floats b) {
  return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)};
}
DUNLIN_INLINE Floats max(Floats a, Floats b) {
  return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)};
}
DUNLIN_INLINE Floats abs(Floats x) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, x.low), _mm256_andnot_ps(sign, x.high)};
}
DUNLIN_INLINE Floats negate(Floats x) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_xor_ps(sign, x.low), _mm256_xor_ps(sign, x.high)};
}
DUNLIN_INLINE Floats round_even(Floats x) {
  return {_mm256_round_ps(x.low, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
          _mm256_round_ps(x.high, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}

DUNLIN_INLINE Mask less(Floats a, Floats b) {
  return {_mm256_cmp_ps(a.low, b.low, _CMP_LT_OQ), _mm256_cmp_ps(a.high, b.high, _CMP_LT_OQ)};
}
DUNLIN_INLINE Mask equal(Floats a, Floats b) {
  return {_mm256_cmp_ps(a.low, b.low, _CMP_EQ_OQ), _mm256_cmp_ps(a.high, b.high, _CMP_EQ_OQ)};
}
DUNLIN_INLINE Mask not_number(Floats x) {
  return {_mm256_cmp_ps(x.low, x.low, _CMP_UNORD_Q), _mm256_cmp_ps(x.high, x.high, _CMP_UNORD_Q)};
}
DUNLIN_INLINE uint32_t bits(Mask mask) {
  return static_cast<uint32_t>(_mm256_movemask_ps(mask.low)) |
         static_cast<uint32_t>(_mm256_movemask_ps(mask.high)) << 8;
}
DUNLIN_INLINE Floats select(Mask mask, Floats yes, Floats no) {
  return {_mm256_blendv_ps(no.low, yes.low, mask.low),
          _mm256_blendv_ps(no.high, yes.high, mask.high)};
}

DUNLIN_INLINE Ints load_ints(const std::byte* p) {
  const __m256i* q = reinterpret_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(q), _mm256_loadu_si256(q + 1)};
}
DUNLIN_INLINE Ints load_signed_bytes(const std::byte* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {_mm256_cvtepi8_epi32(bytes), _mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8))};
}
DUNLIN_INLINE Ints load_unsigned_bytes(const std::byte* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {_mm256_cvtepu8_epi32(bytes), _mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8))};
}
DUNLIN_INLINE Ints broadcast_int(int32_t x) {
  return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)};
}
DUNLIN_INLINE Ints as_ints(Floats x) {
  return {_mm256_castps_si256(x.low), _mm256_castps_si256(x.high)};
}
DUNLIN_INLINE Floats as_floats(Ints x) {
  return {_mm256_castsi256_ps(x.low), _mm256_castsi256_ps(x.high)};
}
DUNLIN_INLINE Ints add(Ints a, Ints b) {
  return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
}
DUNLIN_INLINE Ints sub(Ints a, Ints b) {
  return {_mm256_sub_epi32(a.low, b.low), _mm256_sub_epi32(a.high, b.high)};
}
DUNLIN_INLINE Ints bit_and(Ints a, Ints b) {
  return {_mm256_and_si256(a.low, b.low), _mm256_and_si256(a.high, b.high)};
}
DUNLIN_INLINE Ints bit_or(Ints a, Ints b) {
  return {_mm256_or_si256(a.low, b.low), _mm256_or_si256(a.high, b.high)};
}
DUNLIN_INLINE Ints bit_xor(Ints a, Ints b) {
  return {_mm256_xor_si256(a.low, b.low), _mm256_xor_si256(a.high, b.high)};
}
template <int N>
DUNLIN_INLINE Ints shift_left(Ints x) {
  return {_mm256_slli_epi32(x.low, N), _mm256_slli_epi32(x.high, N)};
}
template <int N>
DUNLIN_INLINE Ints shift_right(Ints x) {
  return {_mm256_srli_epi32(x.low, N), _mm256_srli_epi32(x.high, N)};
}
template <int N>
DUNLIN_INLINE Ints shift_right_signed(Ints x) {
  return {_mm256_srai_epi32(x.low, N), _mm256_srai_epi32(x.high, N)};
}
DUNLIN_INLINE Floats to_floats(Ints x) {
  return {_mm256_cvtepi32_ps(x.low), _mm256_cvtepi32_ps(x.high)};
}
DUNLIN_INLINE Ints to_ints(Floats x) {
  return {_mm256_cvtps_epi32(x.low), _mm256_cvtps_epi32(x.high)};
}
DUNLIN_INLINE void store_int8(int8_t* p, Ints x) {
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(x.low, x.high), 0xd8);
  const __m128i bytes =
      _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
}

DUNLIN_INLINE __m128i low_words(__m256i x) {
  const __m256i words = _mm256_permute4x64_epi64(
      _mm256_packus_epi32(_mm256_and_si256(x, _mm256_set1_epi32(0xffff)), _mm256_setzero_si256()),
      0xd8);
  return _mm256_castsi256_si128(words);
}
DUNLIN_INLINE void split_f16(Ints pairs, Floats* even, Floats* odd) {
  even->low = _mm256_cvtph_ps(low_words(pairs.low));
  even->high = _mm256_cvtph_ps(low_words(pairs.high));
  odd->low = _mm256_cvtph_ps(low_words(_mm256_srli_epi32(pairs.low, 16)));
  odd->high = _mm256_cvtph_ps(low_words(_mm256_srli_epi32(pairs.high, 16)));
}

DUNLIN_INLINE float first(Floats x) {
  return _mm256_cvtss_f32(x.low);
}
DUNLIN_INLINE float fold_sum(Floats x) {
  const __m256 eight = _mm256_add_ps(x.low, x.high);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
DUNLIN_INLINE float fold_max(Floats x) {
  const __m256 eight = _mm256_max_ps(x.low, x.high);
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

// VPMADDUBSW adds pairs in 16 bits: at most 2 * 127 * (2^bits - 1) a step.
constexpr int dot_steps(int bits) {
  return 32767 / (254 * ((1 << bits) - 1));
}
static_assert(dot_steps(4) >= 8 && dot_steps(5) == 4 && dot_steps(6) == 2);

// g++ 12 would multiply a whole group before it adds, and keep the products in memory meanwhile: 1.1 to
// 1.2 times the time of many rows (on Zen 1).
DUNLIN_INLINE Ints added_now(Ints sum) {
  asm("" : "+x"(sum.low), "+x"(sum.high));
  return sum;
}

DUNLIN_INLINE Ints dot_step(Ints partial, Ints codes, Ints x) {
  return added_now({_mm256_add_epi16(partial.low, _mm256_maddubs_epi16(codes.low, x.low)),
                    _mm256_add_epi16(partial.high, _mm256_maddubs_epi16(codes.high, x.high))});
}
DUNLIN_INLINE Ints dot_total(Ints partial) {
  const __m256i ones = _mm256_set1_epi16(1);
  return {_mm256_madd_epi16(partial.low, ones), _mm256_madd_epi16(partial.high, ones)};
}

// |code| * (x with the sign of code): 128 * 127 * 2 = 32512 fits in 16 bits, two of them do not.
DUNLIN_INLINE __m256i dot_signed(__m256i codes, __m256i x) {
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(x, codes));
  return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

DUNLIN_INLINE Ints dot_step_q8(Ints sum, Ints codes, Ints x) {
  const __m256i flip = _mm256_set1_epi8(INT8_MIN);
  const __m256i low = dot_signed(_mm256_xor_si256(codes.low, flip), x.low);
  const __m256i high = dot_signed(_mm256_xor_si256(codes.high, flip), x.high);
  return added_now({_mm256_add_epi32(sum.low, low), _mm256_add_epi32(sum.high, high)});
}

DUNLIN_INLINE Ints fp4_codes(Ints nibbles) {
  const __m256i codes = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
  return {_mm256_shuffle_epi8(codes, nibbles.low), _mm256_shuffle_epi8(codes, nibbles.high)};
}

// The upper two bytes of a float32 are all that an FP4 value needs. They are looked up apart, then come together
// for two columns of eight channels: the compiler shares the look-ups between the four columns of a half of
// the nibbles. (To shift bytes to the top, extend and convert them takes a row 1.2 times as long on Zen 1.)
template <int C>
DUNLIN_INLINE __m256 fp4_values_of(__m256i line) {
  const __m256i third_bytes = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 0, -128, -64, 0, 64, -128, -64, 0, 0, -128, -64, 0, 64, -128, -64));
  const __m256i fourth_bytes = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 63, 63, 63, 64, 64, 64, 64, 0, -65, -65, -65, -64, -64, -64, -64));
  const __m256i nibbles =
      _mm256_and_si256(C < 4 ? line : _mm256_srli_epi16(line, 4), _mm256_set1_epi8(15));
  const __m256i third = _mm256_shuffle_epi8(third_bytes, nibbles);
  const __m256i fourth = _mm256_shuffle_epi8(fourth_bytes, nibbles);
  // Of channels 0 and 1, of 2 and 3, in each half of the register: columns 0 to 3 as bf16.
  const __m256 first = _mm256_castsi256_ps(_mm256_unpacklo_epi8(third, fourth));
  const __m256 last = _mm256_castsi256_ps(_mm256_unpackhi_epi8(third, fourth));
  const __m256i pairs =
      _mm256_castps_si256(_mm256_shuffle_ps(first, last, C % 4 < 2 ? 0x88 : 0xdd));
  return _mm256_castsi256_ps(C % 2 == 0 ? _mm256_slli_epi32(pairs, 16)
                                        : _mm256_and_si256(pairs, _mm256_set1_epi32(-65536)));
}
template <int C>
DUNLIN_INLINE Floats fp4_values(Ints line) {
  return {fp4_values_of<C>(line.low), fp4_values_of<C>(line.high)};
}

}  // namespace
}  // namespace dunlin::avx2
DUNLIN_TARGET_END
