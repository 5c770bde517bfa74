// Dot products of bytes with the multiplications of ARMv8.0 (scalar/simd.h says what they mean).
#pragma once

#include "backend/cpu/kernels/neon/simd.h"

namespace dunlin::neon {
namespace {

// Sums are of 32 bits from the start.
constexpr int dot_steps(int /*bits*/) {
  return 8;
}
DUNLIN_INLINE Ints dot_total(Ints partial) {
  return partial;
}

// Products have 16 bits, and so have sums of two: at most 2 * 127 * 128.
DUNLIN_INLINE int32x4_t add_products(int32x4_t sum, int32x4_t codes, int32x4_t x) {
  const int8x16_t weights = vreinterpretq_s8_s32(codes);
  const int8x16_t values = vreinterpretq_s8_s32(x);
  const int16x8_t low = vmull_s8(vget_low_s8(weights), vget_low_s8(values));
  const int16x8_t high = vmull_high_s8(weights, values);
  return vpadalq_s16(sum, vpaddq_s16(low, high));
}
// Codes below 128 are the same signed and unsigned.
DUNLIN_INLINE Ints dot_step(Ints partial, Ints codes, Ints x) {
  return {add_products(partial.a, codes.a, x.a), add_products(partial.b, codes.b, x.b),
          add_products(partial.c, codes.c, x.c), add_products(partial.d, codes.d, x.d)};
}
DUNLIN_INLINE Ints dot_step_q8(Ints sum, Ints codes, Ints x) {
  return dot_step(sum, bit_xor(codes, broadcast_int(static_cast<int32_t>(0x80808080u))), x);
}

}  // namespace
}  // namespace dunlin::neon
