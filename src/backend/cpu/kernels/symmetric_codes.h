// SymmetricCodes: 8-bit codes of some numbers with one float32 scale
// (docs/decisions/0002-numerics.md), one number at a time: of keys and values, and of rows of weights.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>

namespace dunlin {

// The scale of `count` numbers, and what makes codes of them. Without a number of at least 2^-100
// the scale is 0; with one that is not finite it is NaN. Then all codes are 0.
struct SymmetricCodes {
  float scale;
  float inverse;  // 0: all codes are

  // The bits of magnitudes are in the order of what they stand for, what is not finite last.
  // Compilers make vectors of such a maximum, but not of one of floating-point numbers.
  static SymmetricCodes of(const float* x, int64_t count) {
    int32_t most = 0;
    for (int64_t i = 0; i < count; ++i)
      most = std::max(most, std::bit_cast<int32_t>(x[i]) & 0x7fffffff);
    const auto largest = std::bit_cast<float>(most);
    if (most >= 0x7f800000) return {std::numeric_limits<float>::quiet_NaN(), 0.0f};
    if (largest < 0x1p-100f) return {0.0f, 0.0f};
    return {largest / 127.0f, 127.0f / largest};
  }

  // Rounded half to even by a sum whose last place is 1: a library call for each would take longer
  // than all the rest.
  int8_t code(float x) const {
    if (inverse == 0.0f) return 0;
    constexpr float kOnes = 0x1.8p23f;
    const float rounded = (x * inverse + kOnes) - kOnes;
    return static_cast<int8_t>(rounded);
  }
};

}  // namespace dunlin
