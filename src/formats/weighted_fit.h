// Weighted least squares for block formats: the scale (and minimum) and the integer codes q that
// make sum w (x - scale * q - min)^2 small.
//
// For fixed codes the best scale and minimum are the solution of the normal equations; for a fixed
// scale and minimum the best codes are the nearest ones. A search alternates the two from each of a
// grid of starting scales and keeps the best. The grid is needed because every step only goes
// downhill: the error as a function of the scale has about one local minimum per code.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "base/float16.h"

namespace dunlin {

// N values of a block divided by `unit`, their largest magnitude (1 where all are 0), so that no
// square overflows. NaN counts as 0, and magnitudes above 1e30 as 1e30.
//
// An error counts by w, which grows with |x|: a model feels the errors of large weights more. With
// w = 1 the plain error of Q4_0 is 2 % lower, and yet the KL divergence of SmolLM2 is 0.290 instead
// of 0.250 (bench/compare_quantizers --formats Q4_0, 4 windows).
template <int N>
struct Samples {
  alignas(64) float x[N];
  alignas(64) float w[N];
  float unit = 0.0f;
};

// How w grows: mean of x^2 + x^2, or root mean square + |x|, the gentler one, which suits formats
// with a minimum in 256 values: Q5_K and Q4_K have 0.94 of ggml's divergence with it
// (bench/compare_quantizers --seeds 3 --chunks 2), 1.08 and about 1.02 built with the squares in
// super_block_fit.h; Q3_K and Q6_K, without minimum, were some 5 % better with the squares.
enum class ErrorWeight { square, magnitude };

template <int N>
Samples<N> load_samples(const float* values, const float* importance,
                        ErrorWeight growth = ErrorWeight::square) {
  Samples<N> samples;
  float total = 0.0f;
  for (int k = 0; k < N; ++k) {
    const float v = values[k];
    samples.x[k] = !(v > -1e30f) ? (v < 0.0f ? -1e30f : 0.0f) : v < 1e30f ? v : 1e30f;
    samples.unit = std::max(samples.unit, std::abs(samples.x[k]));
    total += importance == nullptr ? 1.0f : importance[k];
  }
  // No scale in F16 reaches below 2^-26, and the reciprocal must be finite.
  const float inverse = samples.unit >= 0x1p-100f ? 1.0f / samples.unit : 0.0f;
  if (inverse == 0.0f) samples.unit = 1.0f;
  float mean_square = 0.0f;
  for (int k = 0; k < N; ++k) {
    samples.x[k] *= inverse;
    mean_square += samples.x[k] * samples.x[k] / static_cast<float>(N);
  }
  const bool weighted = importance != nullptr && total > 0.0f;
  const float root = std::sqrt(mean_square);
  for (int k = 0; k < N; ++k) {
    const float weight = growth == ErrorWeight::square ? mean_square + samples.x[k] * samples.x[k]
                                                       : root + std::abs(samples.x[k]);
    samples.w[k] = weighted ? weight * (importance[k] / total) : weight;
  }
  return samples;
}

// 1 / scale, and 0 where that is not a finite number.
inline float reciprocal_or_zero(float scale) {
  const float inverse = 1.0f / scale;
  return inverse - inverse == 0.0f ? inverse : 0.0f;
}

// The F16 number nearest to `value`, which a scale is stored as; at most F16's largest, 65504.
inline float as_float16(float value) {
  return to_float(to_float16(std::clamp(value, -65504.0f, 65504.0f)));
}

// The integer in low..high nearest to v, ties to even; |low|, |high| < 2^21, NaN gives low.
inline float nearest_code(float v, float low, float high) {
  const float above = v > low ? v : low;
  const float within = above < high ? above : high;
  return (within + 12582912.0f) - 12582912.0f;  // 1.5 * 2^23: the sum has no room for a fraction
}

// Sums of N terms in eight lanes, which compilers turn into vectors.
template <int N, typename Term>
float sum_lanes(Term term) {
  float lane[8] = {};
  for (int k = 0; k < N; k += 8) {
    for (int i = 0; i < 8; ++i) lane[i] += term(k + i);
  }
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

// q[k]: the code nearest to (x[k] - min) / scale; returns sum w (x - scale q - min)^2.
template <int N>
float assign_codes(const float* x, const float* w, float scale, float min, float low, float high,
                   float* q) {
  const float inverse = reciprocal_or_zero(scale);
  for (int k = 0; k < N; ++k) q[k] = nearest_code((x[k] - min) * inverse, low, high);
  return sum_lanes<N>([&](int k) {
    const float difference = x[k] - (scale * q[k] + min);
    return w[k] * difference * difference;
  });
}

struct Fit {
  float scale = 0.0f;
  float min = 0.0f;
  float error = 0.0f;
};

// The scale that fits codes q best: sum w x q / sum w q^2.
template <int N>
float best_scale(const float* x, const float* w, const float* q) {
  const float xq = sum_lanes<N>([&](int k) { return w[k] * x[k] * q[k]; });
  const float qq = sum_lanes<N>([&](int k) { return w[k] * q[k] * q[k]; });
  return qq > 0.0f ? xq / qq : 0.0f;
}

// Scale and minimum that fit codes q best; the minimum at most `highest_min`.
template <int N>
Fit best_scale_min(const float* x, const float* w, const float* q, float highest_min) {
  const float ww = sum_lanes<N>([&](int k) { return w[k]; });
  const float wx = sum_lanes<N>([&](int k) { return w[k] * x[k]; });
  const float wq = sum_lanes<N>([&](int k) { return w[k] * q[k]; });
  const float qq = sum_lanes<N>([&](int k) { return w[k] * q[k] * q[k]; });
  const float xq = sum_lanes<N>([&](int k) { return w[k] * x[k] * q[k]; });
  const float determinant = ww * qq - wq * wq;
  Fit fit;
  if (determinant > 1e-6f * ww * qq) {
    fit.scale = (ww * xq - wx * wq) / determinant;
    fit.min = (qq * wx - wq * xq) / determinant;
  } else {  // all codes are the same
    fit.min = ww > 0.0f ? wx / ww : 0.0f;
  }
  if (fit.min > highest_min || fit.scale < 0.0f) {
    fit.min = std::min(fit.min, highest_min);
    fit.scale = qq > 0.0f ? std::max(0.0f, (xq - fit.min * wq) / qq) : 0.0f;
  }
  return fit;
}

// The value of largest magnitude; of two, the first. The magnitude is a variable of its own because
// clang 19 -O3 unrolls a loop that compares std::abs(x[k]) with std::abs(extreme) without the second
// std::abs at k = 1.
template <int N>
float extreme_value(const float* x) {
  float extreme = 0.0f;
  float magnitude = 0.0f;
  for (int k = 0; k < N; ++k) {
    if (!(std::abs(x[k]) > magnitude)) continue;
    extreme = x[k];
    magnitude = std::abs(x[k]);
  }
  return extreme;
}

inline constexpr float kAnyMin = std::numeric_limits<float>::infinity();
inline constexpr int kFitRounds = 2;  // more lowers the error by less than 0.1 %

// x[k] ~ scale * q[k], q in low..high (low <= 0 < high): starts from scales of either sign around
// the one that makes the largest magnitude the extreme code. |x| <= 1.
template <int N>
Fit search_scale(const float* x, const float* w, int low, int high) {
  const float least = static_cast<float>(low);
  const float most = static_cast<float>(high);
  const float extreme = extreme_value<N>(x);
  Fit best;
  best.error = sum_lanes<N>([&](int k) { return w[k] * x[k] * x[k]; });
  if (extreme == 0.0f) return best;
  alignas(64) float q[N];
  for (const float end : {least, most}) {
    for (float step = -0.24f; step <= 0.09f; step += 0.08f) {
      float scale = extreme * (1.0f + step) / end;
      for (int round = 0; round <= kFitRounds; ++round) {
        const float error = assign_codes<N>(x, w, scale, 0.0f, least, most, q);
        if (error < best.error) best = {scale, 0.0f, error};
        if (round < kFitRounds) scale = best_scale<N>(x, w, q);
      }
    }
  }
  return best;
}

// x[k] ~ scale * q[k] + min, q in 0..high, scale >= 0, min <= highest_min: starts from ranges
// between two thirds and all of that of x.
template <int N>
Fit search_scale_min(const float* x, const float* w, int high, float highest_min) {
  const float most = static_cast<float>(high);
  float lowest = x[0];
  float highest = x[0];
  for (int k = 1; k < N; ++k) {
    lowest = std::min(lowest, x[k]);
    highest = std::max(highest, x[k]);
  }
  lowest = std::min(lowest, highest_min);
  Fit best;
  best.min = lowest;
  alignas(64) float q[N];
  best.error = assign_codes<N>(x, w, 0.0f, lowest, 0.0f, most, q);
  if (highest <= lowest) return best;
  const float range = highest - lowest;
  for (float cut = 0.0f; cut < 0.34f; cut += 0.06f) {
    Fit fit{range * (1.0f - cut) / most, lowest + 0.5f * cut * range, 0.0f};
    fit.min = std::min(fit.min, highest_min);
    for (int round = 0; round <= kFitRounds; ++round) {
      fit.error = assign_codes<N>(x, w, fit.scale, fit.min, 0.0f, most, q);
      if (fit.error < best.error) best = fit;
      if (round < kFitRounds) fit = best_scale_min<N>(x, w, q, highest_min);
    }
  }
  return best;
}

}  // namespace dunlin
