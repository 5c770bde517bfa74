// Dot products of bytes with SDOT (scalar/simd.h says what they mean).
#pragma once

#include "backend/cpu/kernels/neon/simd.h"

DUNLIN_TARGET_DOTPROD_BEGIN
namespace dunlin::dotprod {
namespace {
using namespace neon;  // the sixteen lanes

constexpr int dot_steps(int /*bits*/) {
  return 8;
}
DUNLIN_INLINE Ints dot_total(Ints partial) {
  return partial;
}

DUNLIN_INLINE int32x4_t add_products(int32x4_t sum, int32x4_t codes, int32x4_t x) {
  return vdotq_s32(sum, vreinterpretq_s8_s32(codes), vreinterpretq_s8_s32(x));
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
}  // namespace dunlin::dotprod
DUNLIN_TARGET_DOTPROD_END
