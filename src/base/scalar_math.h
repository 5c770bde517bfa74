// Scalar definitions of exp, sigmoid, cos and sin (docs/decisions/0002-numerics.md). Vector kernels
// repeat these operations lane by lane, so that a result does not depend on the instruction set.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace dunlin {

inline constexpr float kExpLow = -87.33654f;  // exp of less is denormal: 0
inline constexpr float kExpHigh = 88.72283f;  // exp of more overflows
inline constexpr float kLog2E = 1.44269504f;
inline constexpr float kLn2High =
    0.693359375f;  // ln 2 in two parts; the first has 9 significant bits, so n * it is exact
inline constexpr float kLn2Low = -2.12194440e-4f;

// Coefficients of e^r - 1 - r over r^2 on |r| <= ln(2)/2, highest first (Cephes expf's minimax fit;
// error below 1 ulp).
inline constexpr float kExpPolynomial[6] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                                            4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};

// 2^n as a float for n in [-126, 127].
inline float power_of_two(int32_t n) {
  return std::bit_cast<float>((n + 127) << 23);
}

inline float exp_f32(float x) {
  if (!(x >= kExpLow)) return x < kExpLow ? 0.0f : x;  // NaN passes through
  if (x > kExpHigh) return std::numeric_limits<float>::infinity();
  const float n = std::nearbyintf(x * kLog2E);
  float r = std::fma(n, -kLn2High, x);
  r = std::fma(n, -kLn2Low, r);
  float p = kExpPolynomial[0];
  for (int i = 1; i < 6; ++i) p = std::fma(p, r, kExpPolynomial[i]);
  p = std::fma(p, r * r, r);
  p = p + 1.0f;
  // n reaches 128 at the top of the range: two factors keep both exponents valid.
  const int32_t whole = static_cast<int32_t>(n);
  const int32_t half = whole >> 1;
  return p * power_of_two(half) * power_of_two(whole - half);
}

inline float sigmoid_f32(float x) {
  return 1.0f / (1.0f + exp_f32(-x));
}
inline float silu_f32(float x) {
  return x / (1.0f + exp_f32(-x));
}
inline float tanh_f32(float x) {
  return 2.0f * sigmoid_f32(2.0f * x) - 1.0f;
}

struct CosSin {
  float cos;
  float sin;
};

// cos and sin of |angle| < 2^26 radians, correctly rounded but for about one value in 10^8:
// Cody-Waite reduction by pi/2 in three parts and Taylor polynomials in double, truncation below
// 2^-52 for |r| <= pi/4.
inline CosSin cos_sin_f32(float angle) {
  constexpr double kTwoOverPi = 0.63661977236758134308;
  constexpr double kPiOver2High = 1.57079632673412561417e+00;  // 33 bits
  constexpr double kPiOver2Mid = 6.07710050630396597660e-11;   // 33 more
  constexpr double kPiOver2Low = 2.02226624879595063154e-21;
  const double x = static_cast<double>(angle);
  const double quadrant = std::nearbyint(x * kTwoOverPi);
  double r = x - quadrant * kPiOver2High;
  r = r - quadrant * kPiOver2Mid;
  r = r - quadrant * kPiOver2Low;
  const double z = r * r;
  double sine = 0.0;
  double cosine = 0.0;
  // Horner over the Taylor series: sin r = r (1 - z/6 (1 - z/20 (1 - ...))), cos r = 1 - z/2 (1 -
  // z/12 (1 - ...)).
  for (int i = 8; i >= 1; --i) {
    sine = (1.0 - sine) * z / static_cast<double>(2 * i * (2 * i + 1));
    cosine = (1.0 - cosine) * z / static_cast<double>((2 * i - 1) * (2 * i));
  }
  sine = r * (1.0 - sine);
  cosine = 1.0 - cosine;
  const int64_t turn = static_cast<int64_t>(quadrant) & 3;
  const double c = (turn & 1) ? sine : cosine;
  const double s = (turn & 1) ? cosine : sine;
  return {static_cast<float>(turn == 1 || turn == 2 ? -c : c),
          static_cast<float>(turn >= 2 ? -s : s)};
}

}  // namespace dunlin
