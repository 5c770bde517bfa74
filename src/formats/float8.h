// The two 8-bit floats of "FP8 Formats for Deep Learning" (Micikevicius et al., 2022) as torch has
// them: float8_e4m3fn (no infinity, one NaN of each sign, up to 448) and float8_e5m2 (an IEEE type,
// up to 57344). Every value is exact in float32 and in bf16.
#pragma once

#include <bit>
#include <cstdint>

namespace dunlin {

struct Float8Type {
  int mantissa_bits;
  int bias;
  uint8_t largest;  // code of the largest finite value
  bool has_infinity;
};

inline constexpr Float8Type kE4M3 = {3, 7, 0x7e, false};
inline constexpr Float8Type kE5M2 = {2, 15, 0x7b, true};

constexpr float float8_value(Float8Type type, uint8_t code) {
  const uint32_t sign = static_cast<uint32_t>(code & 0x80u) << 24;
  const uint32_t magnitude = code & 0x7fu;
  if (magnitude > type.largest) {
    const bool infinite = type.has_infinity && magnitude == type.largest + 1u;
    return std::bit_cast<float>(sign | (infinite ? 0x7f800000u : 0x7fc00000u));
  }
  const uint32_t exponent = magnitude >> type.mantissa_bits;
  const uint32_t mantissa = magnitude & ((1u << type.mantissa_bits) - 1u);
  const auto offset = static_cast<uint32_t>(127 - type.bias);
  if (exponent != 0) {
    return std::bit_cast<float>(sign | (exponent + offset) << 23 |
                                mantissa << (23 - type.mantissa_bits));
  }
  // Multiples of the smallest value, a power of two.
  const auto unit =
      std::bit_cast<float>((offset + 1u - static_cast<uint32_t>(type.mantissa_bits)) << 23);
  const float value = static_cast<float>(mantissa) * unit;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(value));
}

// To nearest, ties to even; what is larger than the largest finite value becomes that, an infinity
// too. NaN stays NaN.
inline uint8_t to_float8(Float8Type type, float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint8_t>(bits >> 24 & 0x80u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint8_t>(sign | 0x7fu);
  const uint32_t exponent = magnitude >> 23;
  const auto dropped = static_cast<uint32_t>(23 - type.mantissa_bits);
  const auto smallest_normal = static_cast<uint32_t>(128 - type.bias);
  uint32_t code = 0;
  if (exponent >= smallest_normal) {
    const uint32_t rounded = magnitude + (1u << (dropped - 1u)) - 1u + (magnitude >> dropped & 1u);
    code = (rounded - ((smallest_normal - 1u) << 23)) >> dropped;
  } else if (const uint32_t shift = dropped + smallest_normal - exponent; shift <= 24) {
    const uint32_t mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    const uint32_t half = 1u << (shift - 1u);
    const uint32_t rest = mantissa & ((1u << shift) - 1u);
    code = mantissa >> shift;
    if (rest > half || (rest == half && (code & 1u) != 0)) ++code;
  }
  return static_cast<uint8_t>(sign | (code > type.largest ? type.largest : code));
}

}  // namespace dunlin
