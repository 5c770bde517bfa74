// SMMLA behind the interface that i8mm/dot.inl.h is written against; tests put an emulation in its
// place. A register holds eight bytes of each of two rows, or of each of two channels.
#pragma once

#include "backend/cpu/kernels/neon/simd.h"

DUNLIN_TARGET_I8MM_BEGIN
namespace dunlin::i8mm {
namespace {
using namespace neon;  // the sixteen lanes

// Codes 4 C .. 4 C + 7 of two rows.
using PairRows = int8x16_t;

// Codes 4 C .. 4 C + 7 of sixteen channels: a register of `low` has the channels 4 i and 4 i + 1,
// one of `high` 4 i + 2 and 4 i + 3.
struct PairWeights {
  Ints low;
  Ints high;
};

// Sums of two rows: a register has row 0 and both channels, then row 1 and both channels.
struct PairSums {
  Ints low;
  Ints high;
};

DUNLIN_INLINE PairRows pair_rows(const int8_t* first, const int8_t* second) {
  return vcombine_s8(vld1_s8(first), vld1_s8(second));
}

// From four codes of each channel and the next four.
DUNLIN_INLINE PairWeights pair_weights(Ints codes, Ints next) {
  return {{vzip1q_s32(codes.a, next.a), vzip1q_s32(codes.b, next.b), vzip1q_s32(codes.c, next.c),
           vzip1q_s32(codes.d, next.d)},
          {vzip2q_s32(codes.a, next.a), vzip2q_s32(codes.b, next.b), vzip2q_s32(codes.c, next.c),
           vzip2q_s32(codes.d, next.d)}};
}

DUNLIN_INLINE int32x4_t add_products(int32x4_t sum, PairRows rows, int32x4_t weights) {
  return vmmlaq_s32(sum, rows, vreinterpretq_s8_s32(weights));
}
DUNLIN_INLINE PairSums add_pair_products(PairSums sums, PairRows rows, PairWeights weights) {
  return {
      {add_products(sums.low.a, rows, weights.low.a), add_products(sums.low.b, rows, weights.low.b),
       add_products(sums.low.c, rows, weights.low.c),
       add_products(sums.low.d, rows, weights.low.d)},
      {add_products(sums.high.a, rows, weights.high.a),
       add_products(sums.high.b, rows, weights.high.b),
       add_products(sums.high.c, rows, weights.high.c),
       add_products(sums.high.d, rows, weights.high.d)}};
}

DUNLIN_INLINE int32x4_t first_halves(int32x4_t low, int32x4_t high) {
  return vreinterpretq_s32_s64(vzip1q_s64(vreinterpretq_s64_s32(low), vreinterpretq_s64_s32(high)));
}
DUNLIN_INLINE int32x4_t second_halves(int32x4_t low, int32x4_t high) {
  return vreinterpretq_s32_s64(vzip2q_s64(vreinterpretq_s64_s32(low), vreinterpretq_s64_s32(high)));
}
// Sixteen channels of one row.
DUNLIN_INLINE Ints first_row(PairSums sums) {
  return {first_halves(sums.low.a, sums.high.a), first_halves(sums.low.b, sums.high.b),
          first_halves(sums.low.c, sums.high.c), first_halves(sums.low.d, sums.high.d)};
}
DUNLIN_INLINE Ints second_row(PairSums sums) {
  return {second_halves(sums.low.a, sums.high.a), second_halves(sums.low.b, sums.high.b),
          second_halves(sums.low.c, sums.high.c), second_halves(sums.low.d, sums.high.d)};
}

}  // namespace
}  // namespace dunlin::i8mm
DUNLIN_TARGET_I8MM_END
