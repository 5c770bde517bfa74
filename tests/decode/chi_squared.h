// Pearson's test of counts against probabilities.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace dunlin {

// Sum of (count - expected)^2 / expected. A count where the probability is 0 is infinitely wrong.
inline double chi_squared(const std::vector<int64_t>& counts,
                          const std::vector<double>& probabilities, int64_t draws) {
  double sum = 0.0;
  for (size_t i = 0; i < counts.size(); ++i) {
    const double expected = probabilities[i] * static_cast<double>(draws);
    const double difference = static_cast<double>(counts[i]) - expected;
    if (expected > 0.0) {
      sum += difference * difference / expected;
    } else if (counts[i] > 0) {
      return INFINITY;
    }
  }
  return sum;
}

// The value that a right sampler exceeds once in a thousand seeds, by Wilson and Hilferty's
// approximation: n (1 - 2 / 9n + 3.09 sqrt(2 / 9n))^3.
inline double chi_squared_limit(int degrees_of_freedom) {
  const double n = degrees_of_freedom;
  const double spread = 2.0 / (9.0 * n);
  return n * std::pow(1.0 - spread + 3.09 * std::sqrt(spread), 3);
}

}  // namespace dunlin
