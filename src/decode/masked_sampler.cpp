#include "decode/masked_sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace dunlin {

void MaskedSampler::begin(const LogitsView& view, float temperature) {
  row_ = view.row;
  candidates_ = view.ids;
  best_ = candidates_.empty() ? *std::ranges::max_element(row_)
                              : row_[static_cast<size_t>(candidates_.front())];
  temperature_ = temperature > 0.0f ? temperature : 1.0f;
  ranks_.clear();
  support_ = row_.size();
  // A pass over a row of 152,064 logits takes a millisecond, and a step reads a row for every mask.
  if (temperature == 0.0f) {
    total_ = std::exp(static_cast<double>(view.lse) - static_cast<double>(best_));
    return;
  }
  total_ = 0.0;
  if (only_candidates_matter(view)) {
    support_ = candidates_.size();
    for (const int32_t id : candidates_) total_ += weight(row_[static_cast<size_t>(id)]);
  } else {
    for (const float logit : row_) total_ += weight(logit);
  }
}

// With d(i) <= 0 the distance of a logit to the best, and d that of the last candidate, temperature T
// at most 1 gives the others at most
//   sum exp(d(i) / T) <= exp(d (1 / T - 1)) sum exp(d(i)),
// whose last sum is part of exp(lse - best). The best one alone weighs 1.
bool MaskedSampler::only_candidates_matter(const LogitsView& view) const {
  constexpr double kNegligible = 1e-9;
  if (candidates_.empty() || temperature_ > 1.0f) return false;
  const auto best = static_cast<double>(best_);
  const double last = static_cast<double>(row_[static_cast<size_t>(candidates_.back())]) - best;
  const double sharpened = last * (1.0 / static_cast<double>(temperature_) - 1.0);
  return std::exp(sharpened + static_cast<double>(view.lse) - best) < kNegligible;
}

// The difference to the best comes first: a tiny temperature then gives -infinity, and the best stays
// the best even where the temperature counts as 0.
double MaskedSampler::weight(float logit) const {
  const double difference = static_cast<double>(logit) - static_cast<double>(best_);
  return difference == 0.0 ? 1.0 : std::exp(difference / static_cast<double>(temperature_));
}

int32_t MaskedSampler::ranked(size_t rank) {
  if (rank < candidates_.size()) return candidates_[rank];
  if (rank >= ranks_.size()) {
    // Sorting 152,064 logits takes longer than finding the best few thousand.
    constexpr size_t kFirst = 4096;
    const size_t wanted = std::min(row_.size(), std::max(kFirst, 8 * rank));
    ranks_.resize(row_.size());
    std::iota(ranks_.begin(), ranks_.end(), 0);
    std::ranges::partial_sort(ranks_, ranks_.begin() + static_cast<std::ptrdiff_t>(wanted),
                              [this](int32_t a, int32_t b) {
                                const float x = row_[static_cast<size_t>(a)];
                                const float y = row_[static_cast<size_t>(b)];
                                return x > y || (x == y && a < b);
                              });
    ranks_.resize(wanted);
  }
  return ranks_[rank];
}

// How many of the best tokens the filters leave.
size_t MaskedSampler::keep(const MaskedSamplerParams& params) {
  size_t kept = support_;
  if (params.top_p < 1.0f) {
    const double most = static_cast<double>(params.top_p) * total_;
    double before = 0.0;
    for (kept = 0; kept < support_ && (kept == 0 || before <= most); ++kept)
      before += ranked_weight(kept);
  }
  const auto top_k = static_cast<size_t>(params.top_k);
  if (top_k == 0 || top_k >= kept) return kept;
  const float last = row_[static_cast<size_t>(ranked(top_k - 1))];
  size_t with_ties = top_k;
  while (with_ties < kept && row_[static_cast<size_t>(ranked(with_ties))] == last) ++with_ties;
  return with_ties;
}

int32_t MaskedSampler::choose(float u, double mass, size_t kept) {
  const double target = static_cast<double>(u) * mass;
  double cumulative = 0.0;
  for (size_t rank = 0; rank + 1 < kept; ++rank) {
    cumulative += ranked_weight(rank);
    if (cumulative > target) return ranked(rank);
  }
  return ranked(kept - 1);
}

double MaskedSampler::entropy_sum(double mass, size_t kept) {
  double sum = 0.0;
  const auto add = [&sum, mass](double relative) {
    const double p = relative / mass;
    sum += p * std::log(p + 1e-10);
  };
  if (kept == row_.size()) {
    for (const float logit : row_) add(weight(logit));
  } else {
    for (size_t rank = 0; rank < kept; ++rank) add(ranked_weight(rank));
  }
  return sum;
}

Result<MaskedToken> MaskedSampler::sample(const LogitsView& view, const MaskedSamplerParams& params,
                                          float u) {
  if (!view.finite) return runtime_error("the model's logits hold a NaN or an infinity");
  begin(view, params.temperature);
  const size_t kept = keep(params);
  double mass = total_;
  if (kept < support_) {
    mass = 0.0;
    for (size_t rank = 0; rank < kept; ++rank) mass += ranked_weight(rank);
  }
  MaskedToken result;
  result.token = params.temperature > 0.0f ? choose(u, mass, kept) : ranked(0);
  double confidence = 0.0;
  switch (params.confidence) {
    case Confidence::probability:
      confidence = weight(row_[static_cast<size_t>(result.token)]) / mass;
      break;
    case Confidence::margin:
      confidence = (1.0 - (kept > 1 ? ranked_weight(1) : 0.0)) / mass;
      break;
    case Confidence::negative_entropy:
      // The 1e-10 of the formula is worth at most that much for every token of the vocabulary.
      confidence = params.temperature == 0.0f && kept == row_.size()
                       ? -static_cast<double>(view.entropy)
                       : entropy_sum(mass, kept);
      break;
  }
  result.confidence = static_cast<float>(confidence);
  return result;
}

}  // namespace dunlin
