#include "convert/llama3_scaling.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace dunlin {

std::vector<float> llama3_divisors(double theta, int64_t head_dim, const Llama3Scaling& scaling) {
  const double low = scaling.low_freq_factor;
  const double high = scaling.high_freq_factor;
  const auto original = static_cast<double>(scaling.original_max_position_embeddings);
  std::vector<float> divisors;
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    const double exponent = static_cast<double>(2 * i) / static_cast<double>(head_dim);
    const double wavelength = 2 * std::numbers::pi * std::pow(theta, exponent);
    const double smooth = (original / wavelength - low) / (high - low);
    double divisor = 1.0 / ((1.0 - smooth) / scaling.factor + smooth);
    if (wavelength < original / high) divisor = 1.0;
    if (wavelength > original / low) divisor = scaling.factor;
    divisors.push_back(static_cast<float>(divisor));
  }
  return divisors;
}

std::optional<Llama3Scaling> find_llama3_scaling(double theta, std::span<const double> divisors) {
  constexpr double kRounding = 1e-4;
  constexpr int64_t kMostPositions = int64_t{1} << 24;
  const double factor = *std::ranges::max_element(divisors);
  for (int64_t original = 1; original <= kMostPositions; original *= 2) {
    const Llama3Scaling scaling{factor, 1.0, 4.0, original};
    const auto candidate = llama3_divisors(theta, 2 * std::ssize(divisors), scaling);
    const bool same = std::ranges::equal(divisors, candidate, [](double a, float b) {
      return std::abs(a - static_cast<double>(b)) <= kRounding * a;
    });
    if (same) return scaling;
  }
  return std::nullopt;
}

}  // namespace dunlin
