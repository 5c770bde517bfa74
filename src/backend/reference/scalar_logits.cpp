// The logits view and sampling (docs/decisions/0002-numerics.md, "Logits view and sampling").
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "backend/reference/scalar.h"
#include "base/scalar_math.h"

namespace dunlin::reference {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// `log` in double by the C library, rounded once.
float log_f32(float x) {
  return static_cast<float>(std::log(static_cast<double>(x)));
}

// e[i] = exp(l[i] - m), m = max; returns lanes(e).
float exponentials(std::span<const float> logits, float m, std::vector<float>& e) {
  for (size_t i = 0; i < logits.size(); ++i) e[i] = exp_f32(logits[i] - m);
  return lane_sum(e.data(), static_cast<int64_t>(e.size()));
}

float log_sum_exp_at(std::span<const float> logits, float temperature, std::vector<float>& e) {
  std::vector<float> scaled(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) scaled[i] = logits[i] / temperature;
  const float m = *std::max_element(scaled.begin(), scaled.end());
  return m + log_f32(exponentials(scaled, m, e));
}

bool all_finite(std::span<const float> logits) {
  bool some = false;
  for (const float logit : logits) {
    if (std::isnan(logit) || logit == kInfinity) return false;
    some = some || logit > -kInfinity;
  }
  return some;
}

}  // namespace

LogitStatistics logit_statistics(const float* logits, int64_t vocabulary, float temperature) {
  const std::span row(logits, static_cast<size_t>(vocabulary));
  if (!all_finite(row)) {
    const float none = std::numeric_limits<float>::quiet_NaN();
    return {none, none, none, none, false};
  }
  LogitStatistics result{};
  result.finite = true;
  const float m = *std::max_element(row.begin(), row.end());
  std::vector<float> e(row.size());
  const float z = exponentials(row, m, e);
  result.lse = m + log_f32(z);
  result.lse_temperature = result.lse;

  // A logit of -infinity has probability 0 and adds nothing.
  std::vector<float> terms(row.size());
  for (size_t i = 0; i < row.size(); ++i) terms[i] = e[i] == 0.0f ? 0.0f : e[i] * row[i];
  result.entropy = result.lse - lane_sum(terms.data(), vocabulary) / z;
  for (size_t i = 0; i < row.size(); ++i) {
    const float deviation = row[i] - result.lse + result.entropy;
    terms[i] = e[i] == 0.0f ? 0.0f : e[i] * (deviation * deviation);
  }
  result.varentropy = lane_sum(terms.data(), vocabulary) / z;
  if (temperature > 0.0f && temperature != 1.0f) {
    result.lse_temperature = log_sum_exp_at(row, temperature, e);
  }
  return result;
}

void top_k(const float* values, int64_t count, int64_t k, int32_t* ids, float* best) {
  std::vector<int32_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  const auto rank = [values](int32_t i) { return std::isnan(values[i]) ? -kInfinity : values[i]; };
  std::partial_sort(order.begin(), order.begin() + k, order.end(), [&](int32_t a, int32_t b) {
    const float left = rank(a);
    const float right = rank(b);
    return left > right || (left == right && a < b);
  });
  for (int64_t j = 0; j < k; ++j) {
    ids[j] = order[static_cast<size_t>(j)];
    best[j] = rank(ids[j]);
  }
}

int32_t sample(std::span<const int32_t> ids, std::span<const float> logits, float lse_temperature,
               float temperature, float random) {
  if (!(temperature > 0.0f)) return ids[0];
  float mass = 0.0f;
  for (size_t j = 0; j < ids.size(); ++j) {
    mass = mass + exp_f32(logits[j] / temperature - lse_temperature);
    if (random < mass) return ids[j];
  }
  return -1;
}

}  // namespace dunlin::reference
