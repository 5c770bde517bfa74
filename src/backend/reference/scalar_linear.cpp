// The int8 arithmetic of `linear` (docs/decisions/0002-numerics.md): activations in groups of 32
// with a float scale, exact integer sums per weight group; int8wide is one group of all columns. f32 and
// bf16 are chain_dot of (rounded) values.
#include <algorithm>
#include <cmath>
#include <limits>

#include "backend/reference/fma_dispatch.h"
#include "backend/reference/scalar.h"

namespace dunlin::reference {
namespace {

constexpr float kSmallestMagnitude = 0x1p-100f;  // below: the whole group is zero

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

float largest_magnitude(const float* values, int64_t count) {
  float largest = 0.0f;
  for (int64_t k = 0; k < count; ++k) {
    if (std::isnan(values[k])) return kNaN;
    largest = std::max(largest, std::fabs(values[k]));
  }
  return largest;
}

DUNLIN_FMA_BODY float int8_dot_body(const int8_t* activation_codes, const float* activation_scales,
                                    const IntegerRow& weight, int64_t columns) {
  float sum = 0.0f;
  for (int64_t group = 0; group < columns / weight.group; ++group) {
    const int64_t first = group * weight.group;
    int32_t products = 0;
    int32_t codes = 0;
    for (int64_t k = first; k < first + weight.group; ++k) {
      products += activation_codes[k] * weight.codes[k];
      codes += activation_codes[k];
    }
    const float scale = activation_scales[first / kActivationGroup];
    sum = std::fma(static_cast<float>(products), weight.scales[group] * scale, sum);
    if (weight.mins != nullptr) {
      sum = std::fma(static_cast<float>(codes), weight.mins[group] * scale, sum);
    }
  }
  return sum;
}

DUNLIN_TARGET_FMA float int8_dot_fma(const int8_t* activation_codes, const float* activation_scales,
                                     const IntegerRow& weight, int64_t columns) {
  return int8_dot_body(activation_codes, activation_scales, weight, columns);
}

}  // namespace

float quantize_group(const float* x, int64_t count, int8_t* codes) {
  const float magnitude = largest_magnitude(x, count);
  if (!(magnitude >= kSmallestMagnitude && std::isfinite(magnitude))) {
    std::fill_n(codes, count, int8_t{0});
    return magnitude < kSmallestMagnitude ? 0.0f : kNaN;
  }
  const float inverse = 127.0f / magnitude;
  for (int64_t k = 0; k < count; ++k) {
    codes[k] = static_cast<int8_t>(std::nearbyintf(x[k] * inverse));
  }
  return magnitude / 127.0f;
}

void quantize_activations(const float* x, int64_t columns, int8_t* codes, float* scales,
                          int64_t group) {
  for (int64_t i = 0; i < columns / group; ++i)
    scales[i] = quantize_group(x + i * group, group, codes + i * group);
}

float int8_dot(const int8_t* activation_codes, const float* activation_scales,
               const IntegerRow& weight, int64_t columns) {
  return has_fma() ? int8_dot_fma(activation_codes, activation_scales, weight, columns)
                   : int8_dot_body(activation_codes, activation_scales, weight, columns);
}

}  // namespace dunlin::reference
