// Sixteen lanes in plain C++: the meaning of every function of the vector interface, and the
// kernels of a processor without AVX2 or NEON.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/float16.h"
#include "formats/mxfp4.h"

// The vector interface's order to inline (target.h) is left out: arrays in memory may cross a call, and with it
// clang takes 322 s for linear.cpp under sanitizers instead of 48.
#define DUNLIN_ALWAYS_INLINE
#define DUNLIN_INLINE inline

namespace dunlin::scalar {
namespace {

struct Floats {
  float lane[16];
};
struct Ints {
  int32_t lane[16];
};
struct Mask {
  bool lane[16];
};

constexpr int kPanelStripes = 1;
constexpr int kPanelRows = 1;
constexpr int kDirectRows = 1;
constexpr int kInt8Rows = 1;
constexpr int kAttentionRows = 1;
constexpr bool kQ8Unsigned = false;

template <typename To, typename From, typename F>
DUNLIN_INLINE To map(const From& a, F f) {
  To result;
  for (int i = 0; i < 16; ++i) result.lane[i] = f(a.lane[i]);
  return result;
}
template <typename To, typename From, typename F>
DUNLIN_INLINE To map(const From& a, const From& b, F f) {
  To result;
  for (int i = 0; i < 16; ++i) result.lane[i] = f(a.lane[i], b.lane[i]);
  return result;
}

inline Floats broadcast(float x) {
  Floats result;
  for (float& lane : result.lane) lane = x;
  return result;
}
inline Floats zero() {
  return broadcast(0.0f);
}
inline Floats load(const float* p) {
  Floats result;
  std::memcpy(result.lane, p, sizeof(result.lane));
  return result;
}
// Lanes from n on are zero and not read.
inline Floats load_first(const float* p, int64_t n) {
  Floats result = zero();
  for (int64_t i = 0; i < n && i < 16; ++i) result.lane[i] = p[i];
  return result;
}
inline Floats load_f16(const std::byte* p) {
  Floats result;
  for (int i = 0; i < 16; ++i) {
    float16 half;
    std::memcpy(&half, p + 2 * i, 2);
    result.lane[i] = to_float(half);
  }
  return result;
}
// p[0], p[2], ... p[30] and p[1], p[3], ... p[31].
inline void load_pairs(const float* p, Floats* even, Floats* odd) {
  for (int i = 0; i < 16; ++i) {
    even->lane[i] = p[2 * i];
    odd->lane[i] = p[2 * i + 1];
  }
}
inline void store(float* p, Floats x) {
  std::memcpy(p, x.lane, sizeof(x.lane));
}
inline void store_first(float* p, Floats x, int64_t n) {
  for (int64_t i = 0; i < n && i < 16; ++i) p[i] = x.lane[i];
}

inline Floats add(Floats a, Floats b) {
  return map<Floats>(a, b, [](float x, float y) { return x + y; });
}
inline Floats sub(Floats a, Floats b) {
  return map<Floats>(a, b, [](float x, float y) { return x - y; });
}
inline Floats mul(Floats a, Floats b) {
  return map<Floats>(a, b, [](float x, float y) { return x * y; });
}
inline Floats div(Floats a, Floats b) {
  return map<Floats>(a, b, [](float x, float y) { return x / y; });
}
inline Floats fma(Floats a, Floats b, Floats c) {
  Floats result;
  for (int i = 0; i < 16; ++i) result.lane[i] = std::fma(a.lane[i], b.lane[i], c.lane[i]);
  return result;
}
// As MINPS and MAXPS: the second operand when the two are equal or not comparable.
inline Floats min(Floats a, Floats b) {
  return map<Floats>(a, b, [](float x, float y) { return x < y ? x : y; });
}
inline Floats max(Floats a, Floats b) {
  return map<Floats>(a, b, [](float x, float y) { return x > y ? x : y; });
}
inline Floats abs(Floats x) {
  return map<Floats>(
      x, [](float v) { return std::bit_cast<float>(std::bit_cast<uint32_t>(v) & 0x7fffffffu); });
}
inline Floats negate(Floats x) {
  return map<Floats>(
      x, [](float v) { return std::bit_cast<float>(std::bit_cast<uint32_t>(v) ^ 0x80000000u); });
}
inline Floats round_even(Floats x) {
  return map<Floats>(x, [](float v) { return std::nearbyintf(v); });
}

inline Mask less(Floats a, Floats b) {
  return map<Mask>(a, b, [](float x, float y) { return x < y; });
}
inline Mask equal(Floats a, Floats b) {
  return map<Mask>(a, b, [](float x, float y) { return x == y; });
}
inline Mask not_number(Floats x) {
  return map<Mask>(x, [](float v) { return v != v; });
}
inline Mask lanes_between(int64_t begin, int64_t end) {
  Mask mask;
  for (int i = 0; i < 16; ++i) mask.lane[i] = i >= begin && i < end;
  return mask;
}
inline uint32_t bits(Mask mask) {
  uint32_t result = 0;
  for (int i = 0; i < 16; ++i) result |= static_cast<uint32_t>(mask.lane[i]) << i;
  return result;
}
inline Floats select(Mask mask, Floats yes, Floats no) {
  Floats result;
  for (int i = 0; i < 16; ++i) result.lane[i] = mask.lane[i] ? yes.lane[i] : no.lane[i];
  return result;
}

inline Ints load_ints(const std::byte* p) {
  Ints result;
  std::memcpy(result.lane, p, sizeof(result.lane));
  return result;
}
inline Ints load_signed_bytes(const std::byte* p) {
  Ints result;
  for (int i = 0; i < 16; ++i) result.lane[i] = static_cast<int8_t>(p[i]);
  return result;
}
inline Ints load_unsigned_bytes(const std::byte* p) {
  Ints result;
  for (int i = 0; i < 16; ++i) result.lane[i] = static_cast<int32_t>(p[i]);
  return result;
}
inline Ints broadcast_int(int32_t x) {
  Ints result;
  for (int32_t& lane : result.lane) lane = x;
  return result;
}
inline Ints as_ints(Floats x) {
  return std::bit_cast<Ints>(x);
}
inline Floats as_floats(Ints x) {
  return std::bit_cast<Floats>(x);
}
// Integer sums wrap, as the vector instructions do.
inline Ints add(Ints a, Ints b) {
  return map<Ints>(a, b, [](int32_t x, int32_t y) {
    return static_cast<int32_t>(static_cast<uint32_t>(x) + static_cast<uint32_t>(y));
  });
}
inline Ints sub(Ints a, Ints b) {
  return map<Ints>(a, b, [](int32_t x, int32_t y) {
    return static_cast<int32_t>(static_cast<uint32_t>(x) - static_cast<uint32_t>(y));
  });
}
inline Ints bit_and(Ints a, Ints b) {
  return map<Ints>(a, b, [](int32_t x, int32_t y) { return x & y; });
}
inline Ints bit_or(Ints a, Ints b) {
  return map<Ints>(a, b, [](int32_t x, int32_t y) { return x | y; });
}
inline Ints bit_xor(Ints a, Ints b) {
  return map<Ints>(a, b, [](int32_t x, int32_t y) { return x ^ y; });
}
template <int N>
inline Ints shift_left(Ints x) {
  return map<Ints>(x,
                   [](int32_t v) { return static_cast<int32_t>(static_cast<uint32_t>(v) << N); });
}
template <int N>
inline Ints shift_right(Ints x) {
  return map<Ints>(x,
                   [](int32_t v) { return static_cast<int32_t>(static_cast<uint32_t>(v) >> N); });
}
template <int N>
inline Ints shift_right_signed(Ints x) {
  return map<Ints>(x, [](int32_t v) { return v >> N; });
}
inline Floats to_floats(Ints x) {
  return map<Floats>(x, [](int32_t v) { return static_cast<float>(v); });
}
// Rounded half to even; outside the range of int32 the least integer, as CVTPS2DQ.
inline Ints to_ints(Floats x) {
  return map<Ints>(x, [](float v) {
    const float rounded = std::nearbyintf(v);
    if (!(rounded >= -2147483648.0f && rounded < 2147483648.0f)) return INT32_MIN;
    return static_cast<int32_t>(rounded);
  });
}
inline void store_int8(int8_t* p, Ints x) {
  for (int i = 0; i < 16; ++i) p[i] = static_cast<int8_t>(x.lane[i]);
}
inline void split_f16(Ints pairs, Floats* even, Floats* odd) {
  for (int i = 0; i < 16; ++i) {
    const uint32_t pair = static_cast<uint32_t>(pairs.lane[i]);
    even->lane[i] = to_float(float16{static_cast<uint16_t>(pair & 0xffffu)});
    odd->lane[i] = to_float(float16{static_cast<uint16_t>(pair >> 16)});
  }
}

inline float first(Floats x) {
  return x.lane[0];
}
inline float fold_sum(Floats x) {
  for (int s = 8; s >= 1; s /= 2) {
    for (int i = 0; i < s; ++i) x.lane[i] = x.lane[i] + x.lane[i + s];
  }
  return x.lane[0];
}
inline float fold_max(Floats x) {
  for (int s = 8; s >= 1; s /= 2) {
    for (int i = 0; i < s; ++i) x.lane[i] = x.lane[i] > x.lane[i + s] ? x.lane[i] : x.lane[i + s];
  }
  return x.lane[0];
}

inline void prefetch(const std::byte*) {}

inline int32_t four_codes(const int8_t* x) {
  int32_t word;
  std::memcpy(&word, x, 4);
  return word;
}

// Steps of dot_step that a partial sum of codes below 2^bits holds.
constexpr int dot_steps(int /*bits*/) {
  return 8;
}
// partial + the sum over a lane's four bytes of code (unsigned) * x (signed).
inline Ints dot_step(Ints partial, Ints codes, Ints x) {
  return map<Ints>(partial,
                   map<Ints>(codes, x,
                             [](int32_t code, int32_t value) {
                               int32_t sum = 0;
                               for (int shift = 0; shift < 32; shift += 8) {
                                 sum += (code >> shift & 255) * static_cast<int8_t>(value >> shift);
                               }
                               return sum;
                             }),
                   [](int32_t left, int32_t right) { return left + right; });
}
// A partial sum as integers of 32 bits.
inline Ints dot_total(Ints partial) {
  return partial;
}
// As dot_step for codes of eight bits, stored with an offset of 128, which is taken off here unless
// kQ8Unsigned; sums of 32 bits, which may wrap in channels that only fill a stripe.
inline Ints dot_step_q8(Ints sum, Ints codes, Ints x) {
  return add(sum, map<Ints>(codes, x, [](int32_t code, int32_t value) {
               int32_t products = 0;
               for (int shift = 0; shift < 32; shift += 8) {
                 products += ((code >> shift & 255) - 128) * static_cast<int8_t>(value >> shift);
               }
               return products;
             }));
}

// Bytes of FP4 codes (formats/mxfp4.h) to twice their values, and 12.
inline Ints fp4_codes(Ints nibbles) {
  return map<Ints>(nibbles, [](int32_t v) {
    uint32_t codes = 0;
    for (int shift = 0; shift < 32; shift += 8)
      codes |= static_cast<uint32_t>(kTwiceFp4[v >> shift & 15] + 12) << shift;
    return static_cast<int32_t>(codes);
  });
}

// The FP4 value (formats/mxfp4.h) of column C of a line, C = 0 .. 7.
template <int C>
inline Floats fp4_values(Ints line) {
  return map<Floats>(line, [](int32_t v) {
    return kFp4Values[static_cast<uint32_t>(v) >> (8 * (C % 4) + 4 * (C / 4)) & 15u];
  });
}

}  // namespace
}  // namespace dunlin::scalar
