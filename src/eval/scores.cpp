#include "eval/scores.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace dunlin {

double negative_log_likelihood(const LogitsView& view, int32_t token) {
  return static_cast<double>(view.lse) - static_cast<double>(view.row[static_cast<size_t>(token)]);
}

// With a = ref - max ref, b = model - max model, Z the sums of their exponentials:
// KL = sum e^a (a - b) / Z_a - ln Z_a + ln Z_b. Small divergences do not drown in the rounding of a
// log-sum-exp that was stored as a float.
double kl_divergence(std::span<const float> reference, std::span<const float> model) {
  DUNLIN_CHECK(!reference.empty() && reference.size() == model.size(),
               "rows of logits of two vocabularies");
  const float max_a = *std::ranges::max_element(reference);
  const float max_b = *std::ranges::max_element(model);
  double weighted = 0;
  double sum_a = 0;
  double sum_b = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    const float a = reference[i] - max_a;
    const float b = model[i] - max_b;
    const auto p = static_cast<double>(std::exp(a));
    sum_a += p;
    sum_b += static_cast<double>(std::exp(b));
    if (p > 0) weighted += p * (static_cast<double>(a) - static_cast<double>(b));
  }
  return weighted / sum_a - std::log(sum_a) + std::log(sum_b);
}

bool same_best(const LogitsView& a, const LogitsView& b) {
  DUNLIN_CHECK(!a.ids.empty() && !b.ids.empty(), "views without candidates");
  return a.ids.front() == b.ids.front();
}

void RunningMean::add(double value) {
  ++count_;
  sum_ += value;
  squares_ += value * value;
}

double RunningMean::mean() const {
  return count_ == 0 ? 0.0 : sum_ / static_cast<double>(count_);
}

double RunningMean::error() const {
  if (count_ < 2) return 0.0;
  const double variance = squares_ / static_cast<double>(count_) - mean() * mean();
  return std::sqrt(std::max(0.0, variance) / static_cast<double>(count_ - 1));
}

Perplexity perplexity_of(const RunningMean& negative_log_likelihoods) {
  const double value = std::exp(negative_log_likelihoods.mean());
  return {value, value * negative_log_likelihoods.error()};
}

double quantile(std::vector<float> values, double fraction) {
  DUNLIN_CHECK(!values.empty(), "a quantile of nothing");
  const double at = fraction * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(at);
  const auto nth = values.begin() + static_cast<int64_t>(below);
  std::nth_element(values.begin(), nth, values.end());
  const auto low = static_cast<double>(*nth);
  if (below + 1 == values.size()) return low;
  const auto high = static_cast<double>(*std::min_element(nth + 1, values.end()));
  return low + (at - static_cast<double>(below)) * (high - low);
}

}  // namespace dunlin
