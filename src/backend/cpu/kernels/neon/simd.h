// Sixteen lanes on NEON: four registers each. The interface that vector/*.inl.h is written against,
// but for the dot products (neon/dot.h, dotprod/dot.h, i8mm/dot.inl.h); scalar/simd.h defines what
// every function means. No region: NEON is part of aarch64.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "backend/cpu/kernels/target.h"
#include "formats/mxfp4.h"

namespace dunlin::neon {
namespace {

struct Floats {
  float32x4_t a;  // lanes 0 .. 3
  float32x4_t b;
  float32x4_t c;
  float32x4_t d;
};
struct Ints {
  int32x4_t a;
  int32x4_t b;
  int32x4_t c;
  int32x4_t d;
};
struct Mask {  // all bits of a lane, or none
  uint32x4_t a;
  uint32x4_t b;
  uint32x4_t c;
  uint32x4_t d;
};

constexpr int kPanelStripes = 1;
constexpr int kPanelRows = 3;        // 3 x 2 even and odd sums: 24 of 32 registers
constexpr int kDirectRows = 2;       // rows that share one pass over 16-bit weights
constexpr int kInt8Rows = 4;         // rows that share one pass over integer weights
constexpr int kAttentionRows = 2;    // queries that share one pass over a page
constexpr bool kQ8Unsigned = false;  // dot_step_q8 multiplies the code itself

constexpr int32_t kLaneNumbers[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
constexpr uint8_t kLaneBits[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};

DUNLIN_INLINE uint32x4_t four_between(const int32_t* lanes, int32x4_t begin, int32x4_t end) {
  const int32x4_t lane = vld1q_s32(lanes);
  return vandq_u32(vcgeq_s32(lane, begin), vcltq_s32(lane, end));
}
DUNLIN_INLINE Mask lanes_between(int64_t begin, int64_t end) {
  const int32x4_t b = vdupq_n_s32(static_cast<int32_t>(begin < 0 ? 0 : begin > 16 ? 16 : begin));
  const int32x4_t e = vdupq_n_s32(static_cast<int32_t>(end < 0 ? 0 : end > 16 ? 16 : end));
  return {four_between(kLaneNumbers, b, e), four_between(kLaneNumbers + 4, b, e),
          four_between(kLaneNumbers + 8, b, e), four_between(kLaneNumbers + 12, b, e)};
}

DUNLIN_INLINE Floats broadcast(float x) {
  const float32x4_t four = vdupq_n_f32(x);
  return {four, four, four, four};
}
DUNLIN_INLINE Floats zero() {
  return broadcast(0.0f);
}
DUNLIN_INLINE Floats load(const float* p) {
  return {vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)};
}
DUNLIN_INLINE void store(float* p, Floats x) {
  vst1q_f32(p, x.a);
  vst1q_f32(p + 4, x.b);
  vst1q_f32(p + 8, x.c);
  vst1q_f32(p + 12, x.d);
}
// Loads and stores have no mask: a part goes through memory.
DUNLIN_INLINE Floats load_first(const float* p, int64_t n) {
  if (n >= 16) return load(p);
  float lanes[16] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i] = p[i];
  return load(lanes);
}
DUNLIN_INLINE void store_first(float* p, Floats x, int64_t n) {
  if (n >= 16) {
    store(p, x);
    return;
  }
  float lanes[16];
  store(lanes, x);
  for (int64_t i = 0; i < n; ++i) p[i] = lanes[i];
}
DUNLIN_INLINE float32x4_t four_f16(uint16x4_t halves) {
  return vcvt_f32_f16(vreinterpret_f16_u16(halves));
}
DUNLIN_INLINE Floats load_f16(const std::byte* p) {
  const uint16_t* halves = reinterpret_cast<const uint16_t*>(p);
  const uint16x8_t low = vld1q_u16(halves);
  const uint16x8_t high = vld1q_u16(halves + 8);
  return {four_f16(vget_low_u16(low)), four_f16(vget_high_u16(low)), four_f16(vget_low_u16(high)),
          four_f16(vget_high_u16(high))};
}
DUNLIN_INLINE void load_pairs(const float* p, Floats* even, Floats* odd) {
  const float32x4x2_t a = vld2q_f32(p);
  const float32x4x2_t b = vld2q_f32(p + 8);
  const float32x4x2_t c = vld2q_f32(p + 16);
  const float32x4x2_t d = vld2q_f32(p + 24);
  *even = {a.val[0], b.val[0], c.val[0], d.val[0]};
  *odd = {a.val[1], b.val[1], c.val[1], d.val[1]};
}

DUNLIN_INLINE Floats add(Floats x, Floats y) {
  return {vaddq_f32(x.a, y.a), vaddq_f32(x.b, y.b), vaddq_f32(x.c, y.c), vaddq_f32(x.d, y.d)};
}
DUNLIN_INLINE Floats sub(Floats x, Floats y) {
  return {vsubq_f32(x.a, y.a), vsubq_f32(x.b, y.b), vsubq_f32(x.c, y.c), vsubq_f32(x.d, y.d)};
}
DUNLIN_INLINE Floats mul(Floats x, Floats y) {
  return {vmulq_f32(x.a, y.a), vmulq_f32(x.b, y.b), vmulq_f32(x.c, y.c), vmulq_f32(x.d, y.d)};
}
DUNLIN_INLINE Floats div(Floats x, Floats y) {
  return {vdivq_f32(x.a, y.a), vdivq_f32(x.b, y.b), vdivq_f32(x.c, y.c), vdivq_f32(x.d, y.d)};
}
// x * y + z
DUNLIN_INLINE Floats fma(Floats x, Floats y, Floats z) {
  return {vfmaq_f32(z.a, x.a, y.a), vfmaq_f32(z.b, x.b, y.b), vfmaq_f32(z.c, x.c, y.c),
          vfmaq_f32(z.d, x.d, y.d)};
}
// FMIN and FMAX answer zeros of two signs and NaN otherwise than the interface wants.
DUNLIN_INLINE float32x4_t lesser(float32x4_t x, float32x4_t y) {
  return vbslq_f32(vcltq_f32(x, y), x, y);
}
DUNLIN_INLINE float32x4_t greater(float32x4_t x, float32x4_t y) {
  return vbslq_f32(vcgtq_f32(x, y), x, y);
}
DUNLIN_INLINE Floats min(Floats x, Floats y) {
  return {lesser(x.a, y.a), lesser(x.b, y.b), lesser(x.c, y.c), lesser(x.d, y.d)};
}
DUNLIN_INLINE Floats max(Floats x, Floats y) {
  return {greater(x.a, y.a), greater(x.b, y.b), greater(x.c, y.c), greater(x.d, y.d)};
}
DUNLIN_INLINE Floats abs(Floats x) {
  return {vabsq_f32(x.a), vabsq_f32(x.b), vabsq_f32(x.c), vabsq_f32(x.d)};
}
DUNLIN_INLINE Floats negate(Floats x) {
  return {vnegq_f32(x.a), vnegq_f32(x.b), vnegq_f32(x.c), vnegq_f32(x.d)};
}
DUNLIN_INLINE Floats round_even(Floats x) {
  return {vrndnq_f32(x.a), vrndnq_f32(x.b), vrndnq_f32(x.c), vrndnq_f32(x.d)};
}

DUNLIN_INLINE Mask less(Floats x, Floats y) {
  return {vcltq_f32(x.a, y.a), vcltq_f32(x.b, y.b), vcltq_f32(x.c, y.c), vcltq_f32(x.d, y.d)};
}
DUNLIN_INLINE Mask equal(Floats x, Floats y) {
  return {vceqq_f32(x.a, y.a), vceqq_f32(x.b, y.b), vceqq_f32(x.c, y.c), vceqq_f32(x.d, y.d)};
}
DUNLIN_INLINE Mask not_number(Floats x) {
  const Mask number = equal(x, x);
  return {vmvnq_u32(number.a), vmvnq_u32(number.b), vmvnq_u32(number.c), vmvnq_u32(number.d)};
}
DUNLIN_INLINE uint32_t bits(Mask mask) {
  const uint16x8_t low = vcombine_u16(vmovn_u32(mask.a), vmovn_u32(mask.b));
  const uint16x8_t high = vcombine_u16(vmovn_u32(mask.c), vmovn_u32(mask.d));
  const uint8x16_t lanes = vcombine_u8(vmovn_u16(low), vmovn_u16(high));
  const uint8x16_t weighed = vandq_u8(lanes, vld1q_u8(kLaneBits));
  return static_cast<uint32_t>(vaddv_u8(vget_low_u8(weighed))) |
         static_cast<uint32_t>(vaddv_u8(vget_high_u8(weighed))) << 8;
}
DUNLIN_INLINE Floats select(Mask mask, Floats yes, Floats no) {
  return {vbslq_f32(mask.a, yes.a, no.a), vbslq_f32(mask.b, yes.b, no.b),
          vbslq_f32(mask.c, yes.c, no.c), vbslq_f32(mask.d, yes.d, no.d)};
}

DUNLIN_INLINE Ints load_ints(const std::byte* p) {
  const int32_t* q = reinterpret_cast<const int32_t*>(p);
  return {vld1q_s32(q), vld1q_s32(q + 4), vld1q_s32(q + 8), vld1q_s32(q + 12)};
}
DUNLIN_INLINE Ints load_signed_bytes(const std::byte* p) {
  const int8x16_t bytes = vld1q_s8(reinterpret_cast<const int8_t*>(p));
  const int16x8_t low = vmovl_s8(vget_low_s8(bytes));
  const int16x8_t high = vmovl_s8(vget_high_s8(bytes));
  return {vmovl_s16(vget_low_s16(low)), vmovl_s16(vget_high_s16(low)),
          vmovl_s16(vget_low_s16(high)), vmovl_s16(vget_high_s16(high))};
}
DUNLIN_INLINE int32x4_t widened(uint16x4_t words) {
  return vreinterpretq_s32_u32(vmovl_u16(words));
}
DUNLIN_INLINE Ints load_unsigned_bytes(const std::byte* p) {
  const uint8x16_t bytes = vld1q_u8(reinterpret_cast<const uint8_t*>(p));
  const uint16x8_t low = vmovl_u8(vget_low_u8(bytes));
  const uint16x8_t high = vmovl_u8(vget_high_u8(bytes));
  return {widened(vget_low_u16(low)), widened(vget_high_u16(low)), widened(vget_low_u16(high)),
          widened(vget_high_u16(high))};
}
DUNLIN_INLINE Ints broadcast_int(int32_t x) {
  const int32x4_t four = vdupq_n_s32(x);
  return {four, four, four, four};
}
DUNLIN_INLINE Ints as_ints(Floats x) {
  return {vreinterpretq_s32_f32(x.a), vreinterpretq_s32_f32(x.b), vreinterpretq_s32_f32(x.c),
          vreinterpretq_s32_f32(x.d)};
}
DUNLIN_INLINE Floats as_floats(Ints x) {
  return {vreinterpretq_f32_s32(x.a), vreinterpretq_f32_s32(x.b), vreinterpretq_f32_s32(x.c),
          vreinterpretq_f32_s32(x.d)};
}
DUNLIN_INLINE Ints add(Ints x, Ints y) {
  return {vaddq_s32(x.a, y.a), vaddq_s32(x.b, y.b), vaddq_s32(x.c, y.c), vaddq_s32(x.d, y.d)};
}
DUNLIN_INLINE Ints sub(Ints x, Ints y) {
  return {vsubq_s32(x.a, y.a), vsubq_s32(x.b, y.b), vsubq_s32(x.c, y.c), vsubq_s32(x.d, y.d)};
}
DUNLIN_INLINE Ints bit_and(Ints x, Ints y) {
  return {vandq_s32(x.a, y.a), vandq_s32(x.b, y.b), vandq_s32(x.c, y.c), vandq_s32(x.d, y.d)};
}
DUNLIN_INLINE Ints bit_or(Ints x, Ints y) {
  return {vorrq_s32(x.a, y.a), vorrq_s32(x.b, y.b), vorrq_s32(x.c, y.c), vorrq_s32(x.d, y.d)};
}
DUNLIN_INLINE Ints bit_xor(Ints x, Ints y) {
  return {veorq_s32(x.a, y.a), veorq_s32(x.b, y.b), veorq_s32(x.c, y.c), veorq_s32(x.d, y.d)};
}
template <int N>
DUNLIN_INLINE Ints shift_left(Ints x) {
  return {vshlq_n_s32(x.a, N), vshlq_n_s32(x.b, N), vshlq_n_s32(x.c, N), vshlq_n_s32(x.d, N)};
}
template <int N>
DUNLIN_INLINE int32x4_t four_right(int32x4_t x) {
  return vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(x), N));
}
// The instruction shifts by 1 to 32.
template <int N>
DUNLIN_INLINE Ints shift_right(Ints x) {
  if constexpr (N == 0) {
    return x;
  } else {
    return {four_right<N>(x.a), four_right<N>(x.b), four_right<N>(x.c), four_right<N>(x.d)};
  }
}
template <int N>
DUNLIN_INLINE Ints shift_right_signed(Ints x) {
  return {vshrq_n_s32(x.a, N), vshrq_n_s32(x.b, N), vshrq_n_s32(x.c, N), vshrq_n_s32(x.d, N)};
}
DUNLIN_INLINE Floats to_floats(Ints x) {
  return {vcvtq_f32_s32(x.a), vcvtq_f32_s32(x.b), vcvtq_f32_s32(x.c), vcvtq_f32_s32(x.d)};
}
// FCVTNS gives the nearest integer that there is, and 0 for NaN.
DUNLIN_INLINE int32x4_t nearest_ints(float32x4_t x) {
  const uint32x4_t below_end = vcltq_f32(x, vdupq_n_f32(2147483648.0f));
  return vbslq_s32(below_end, vcvtnq_s32_f32(x), vdupq_n_s32(INT32_MIN));
}
DUNLIN_INLINE Ints to_ints(Floats x) {
  return {nearest_ints(x.a), nearest_ints(x.b), nearest_ints(x.c), nearest_ints(x.d)};
}
DUNLIN_INLINE void store_int8(int8_t* p, Ints x) {
  const int16x8_t low = vcombine_s16(vmovn_s32(x.a), vmovn_s32(x.b));
  const int16x8_t high = vcombine_s16(vmovn_s32(x.c), vmovn_s32(x.d));
  vst1q_s8(p, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
}

DUNLIN_INLINE float32x4_t low_f16(int32x4_t pairs) {
  return four_f16(vmovn_u32(vreinterpretq_u32_s32(pairs)));
}
DUNLIN_INLINE float32x4_t high_f16(int32x4_t pairs) {
  return four_f16(vshrn_n_u32(vreinterpretq_u32_s32(pairs), 16));
}
DUNLIN_INLINE void split_f16(Ints pairs, Floats* even, Floats* odd) {
  *even = {low_f16(pairs.a), low_f16(pairs.b), low_f16(pairs.c), low_f16(pairs.d)};
  *odd = {high_f16(pairs.a), high_f16(pairs.b), high_f16(pairs.c), high_f16(pairs.d)};
}

DUNLIN_INLINE float first(Floats x) {
  return vgetq_lane_f32(x.a, 0);
}
// The fixed tree: lane[i] += lane[i + s] for s = 8, 4, 2, 1.
DUNLIN_INLINE float fold_sum(Floats x) {
  const float32x4_t four = vaddq_f32(vaddq_f32(x.a, x.c), vaddq_f32(x.b, x.d));
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
DUNLIN_INLINE float fold_max(Floats x) {
  const float32x4_t four = greater(greater(x.a, x.c), greater(x.b, x.d));
  const float32x2_t low = vget_low_f32(four);
  const float32x2_t high = vget_high_f32(four);
  const float32x2_t two = vbsl_f32(vcgt_f32(low, high), low, high);
  const float even = vget_lane_f32(two, 0);
  const float odd = vget_lane_f32(two, 1);
  return even > odd ? even : odd;
}

DUNLIN_INLINE void prefetch(const std::byte* p) {
  __builtin_prefetch(p);
}

DUNLIN_INLINE int32_t four_codes(const int8_t* x) {
  int32_t word;
  __builtin_memcpy(&word, x, 4);
  return word;
}

DUNLIN_INLINE Ints fp4_codes(Ints nibbles) {
  const int8x16_t codes = vaddq_s8(vld1q_s8(kTwiceFp4), vdupq_n_s8(12));
  const auto look_up = [&codes](int32x4_t line) DUNLIN_ALWAYS_INLINE {
    return vreinterpretq_s32_s8(vqtbl1q_s8(codes, vreinterpretq_u8_s32(line)));
  };
  return {look_up(nibbles.a), look_up(nibbles.b), look_up(nibbles.c), look_up(nibbles.d)};
}

// Twice the value as an integer, converted as a number with one binary place. The compiler shares
// the two look-ups of a line between its eight columns.
template <int C>
DUNLIN_INLINE float32x4_t fp4_values_of(int32x4_t line) {
  const uint8x16_t bytes = vreinterpretq_u8_s32(line);
  uint8x16_t nibbles;
  if constexpr (C < 4) {
    nibbles = vandq_u8(bytes, vdupq_n_u8(15));
  } else {
    nibbles = vshrq_n_u8(bytes, 4);
  }
  const int32x4_t twice = vreinterpretq_s32_s8(vqtbl1q_s8(vld1q_s8(kTwiceFp4), nibbles));
  return vcvtq_n_f32_s32(vshrq_n_s32(vshlq_n_s32(twice, 24 - 8 * (C % 4)), 24), 1);
}
template <int C>
DUNLIN_INLINE Floats fp4_values(Ints line) {
  return {fp4_values_of<C>(line.a), fp4_values_of<C>(line.b), fp4_values_of<C>(line.c),
          fp4_values_of<C>(line.d)};
}

}  // namespace
}  // namespace dunlin::neon
