// Conversions between float and the two 16-bit floats, exact or rounded to nearest even; NaN stays
// NaN.
#pragma once

#include <bit>
#include <cstdint>

namespace dunlin {

struct bfloat16 {
  uint16_t bits = 0;
};

struct float16 {  // IEEE 754 binary16
  uint16_t bits = 0;
};

inline float to_float(bfloat16 value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16);
}

inline bfloat16 to_bfloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return {static_cast<uint16_t>((bits >> 16) | 0x40u)};  // quiet NaN
  const uint32_t to_even = ((bits >> 16) & 1u) + 0x7fffu;
  return {static_cast<uint16_t>((bits + to_even) >> 16)};
}

inline float to_float(float16 value) {
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000u) << 16;
  const uint32_t exponent = (value.bits >> 10) & 0x1fu;
  const uint32_t mantissa = value.bits & 0x3ffu;
  if (exponent == 0x1fu) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0)
    return std::bit_cast<float>(sign | ((exponent + 112u) << 23) | (mantissa << 13));
  if (mantissa == 0) return std::bit_cast<float>(sign);
  // Subnormal: mantissa * 2^-24, which is normal in float. Written with integers so that
  // flush-to-zero modes of the processor cannot touch it.
  const uint32_t shift =
      static_cast<uint32_t>(std::countl_zero(mantissa)) - 21u;  // brings the leading bit to bit 10
  return std::bit_cast<float>(sign | ((113u - shift) << 23) |
                              (((mantissa << shift) & 0x3ffu) << 13));
}

inline float16 to_float16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {static_cast<uint16_t>(sign | 0x7e00u)};
  if (magnitude >= 0x477ff000u)
    return {static_cast<uint16_t>(sign | 0x7c00u)};  // rounds to infinity
  if (magnitude >= 0x38800000u) {                    // normal result
    const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
    return {static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13))};
  }
  if (magnitude < 0x33000000u) return {sign};  // below half of the smallest subnormal
  const uint32_t exponent = magnitude >> 23;
  const uint32_t mantissa = (magnitude & 0x7fffffu) | 0x800000u;
  const uint32_t shift = 126u - exponent;  // 14..24
  const uint32_t quotient = mantissa >> shift;
  const uint32_t remainder = mantissa & ((1u << shift) - 1u);
  const uint32_t half = 1u << (shift - 1u);
  const uint32_t up = remainder > half || (remainder == half && (quotient & 1u)) ? 1u : 0u;
  return {static_cast<uint16_t>(sign | (quotient + up))};
}

}  // namespace dunlin
