#include "sampler/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "base/check.h"
#include "base/scalar_math.h"

namespace dunlin {
namespace {

bool adjusts_logits(const SamplingParams& params) {
  return !params.logit_bias.empty() || params.repeat_penalty != 1.0f ||
         params.frequency_penalty != 0.0f || params.presence_penalty != 0.0f;
}

void apply_repeat_penalty(const SamplingParams& params, std::span<const int32_t> history,
                          std::span<float> row) {
  if (params.repeat_penalty == 1.0f || params.repeat_last_n == 0) return;
  const size_t wanted =
      params.repeat_last_n < 0 ? history.size() : static_cast<size_t>(params.repeat_last_n);
  std::vector<int32_t> recent(
      history.end() - static_cast<std::ptrdiff_t>(std::min(wanted, history.size())), history.end());
  std::ranges::sort(recent);
  const auto [first, last] = std::ranges::unique(recent);
  recent.erase(first, last);
  for (const int32_t id : recent) {
    float& logit = row[static_cast<size_t>(id)];
    logit = logit > 0.0f ? logit / params.repeat_penalty : logit * params.repeat_penalty;
  }
}

void apply_count_penalties(const SamplingParams& params, std::span<const int32_t> output,
                           std::span<float> row) {
  if (params.frequency_penalty == 0.0f && params.presence_penalty == 0.0f) return;
  std::unordered_map<int32_t, int32_t> counts;
  for (const int32_t id : output) ++counts[id];
  for (const auto& [id, count] : counts) {
    row[static_cast<size_t>(id)] -=
        static_cast<float>(count) * params.frequency_penalty + params.presence_penalty;
  }
}

bool better(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

int32_t argmax(std::span<const float> row) {
  // max_element returns the first of equals: the lowest id.
  return static_cast<int32_t>(std::ranges::max_element(row) - row.begin());
}

// Probabilities relative to the best candidate; returns their sum, added in descending order.
double set_weights(std::vector<Candidate>& candidates) {
  double sum = 0.0;
  for (Candidate& candidate : candidates) {
    candidate.probability = exp_f32(candidate.logit - candidates.front().logit);
    sum += static_cast<double>(candidate.probability);
  }
  return sum;
}

// Keeps the shortest prefix whose mass reaches p; the first candidate always stays.
double keep_top_p(std::vector<Candidate>& candidates, double sum, float p) {
  double mass = 0.0;
  size_t count = 0;
  while (count < candidates.size() && (count == 0 || mass < static_cast<double>(p) * sum)) {
    mass += static_cast<double>(candidates[count++].probability);
  }
  candidates.resize(count);
  return mass;
}

double keep_min_p(std::vector<Candidate>& candidates, float min_p) {
  // The best weight is 1, so a weight is already the ratio to it.
  size_t count = 1;
  double mass = static_cast<double>(candidates.front().probability);
  while (count < candidates.size() && candidates[count].probability >= min_p) {
    mass += static_cast<double>(candidates[count++].probability);
  }
  candidates.resize(count);
  return mass;
}

}  // namespace

Result<void> in_range(const char* field, double value, double low, double high) {
  if (value >= low && value <= high) return {};
  return usage_error(fmt::format("{} is {}, outside {}..{}", field, value, low, high));
}

Result<void> validate(const SamplingParams& params, int64_t vocabulary) {
  DUNLIN_RETURN_IF_ERROR(
      in_range("temperature", static_cast<double>(params.temperature), 0.0, 100.0));
  DUNLIN_RETURN_IF_ERROR(in_range("top_k", params.top_k, 0, 1 << 30));
  DUNLIN_RETURN_IF_ERROR(in_range("top_p", static_cast<double>(params.top_p), 0.0, 1.0));
  DUNLIN_RETURN_IF_ERROR(in_range("min_p", static_cast<double>(params.min_p), 0.0, 1.0));
  DUNLIN_RETURN_IF_ERROR(
      in_range("repeat_penalty", static_cast<double>(params.repeat_penalty), 0.01, 100.0));
  DUNLIN_RETURN_IF_ERROR(
      in_range("frequency_penalty", static_cast<double>(params.frequency_penalty), -100.0, 100.0));
  DUNLIN_RETURN_IF_ERROR(
      in_range("presence_penalty", static_cast<double>(params.presence_penalty), -100.0, 100.0));
  DUNLIN_RETURN_IF_ERROR(in_range("repeat_last_n", params.repeat_last_n, -1, 1 << 30));
  for (const auto& [id, bias] : params.logit_bias) {
    if (id < 0 || id >= vocabulary) {
      return usage_error(
          fmt::format("logit_bias names token {}, outside 0..{}", id, vocabulary - 1));
    }
    DUNLIN_RETURN_IF_ERROR(in_range("logit_bias", static_cast<double>(bias), -1e4, 1e4));
  }
  return {};
}

bool takes_best(const SamplingParams& params) {
  return params.temperature == 0.0f && !adjusts_logits(params);
}

bool needs_whole_row(const SamplingParams& params, int64_t candidates) {
  if (candidates == 0 || adjusts_logits(params)) return true;
  if (params.temperature == 0.0f) return false;
  return params.top_k == 0 || params.top_k > candidates;
}

Result<int32_t> Sampler::sample(const LogitsView& view, const SamplingParams& params,
                                std::span<const int32_t> history, int64_t generated, float u) {
  if (!view.finite) return runtime_error("the model's logits hold a NaN or an infinity");
  DUNLIN_CHECK(!view.row.empty() || !needs_whole_row(params, std::ssize(view.ids)),
               "a whole row of logits");
  std::span<const float> row = view.row;
  const bool adjusted = adjusts_logits(params);
  if (adjusted) {
    adjusted_.assign(row.begin(), row.end());
    for (const auto& [id, bias] : params.logit_bias) adjusted_[static_cast<size_t>(id)] += bias;
    apply_repeat_penalty(params, history, adjusted_);
    apply_count_penalties(params, history.last(static_cast<size_t>(generated)), adjusted_);
    row = adjusted_;
  }
  candidates_.clear();
  if (params.temperature == 0.0f)
    return adjusted || view.ids.empty() ? argmax(row) : view.ids.front();

  // Division by a tiny temperature may overflow; the draw only needs differences to the best, which
  // -inf serves.
  const auto scaled = [&](float logit) { return logit / params.temperature; };
  const size_t most = std::max(row.size(), view.ids.size());  // there may be candidates alone
  const size_t wanted =
      params.top_k == 0 ? most : std::min(static_cast<size_t>(params.top_k), most);
  if (!adjusted && wanted <= view.ids.size()) {
    for (size_t i = 0; i < wanted; ++i)
      candidates_.push_back({view.ids[i], scaled(view.logits[i]), 0.0f});
  } else {
    for (size_t id = 0; id < row.size(); ++id)
      candidates_.push_back({static_cast<int32_t>(id), row[id], 0.0f});
    std::ranges::partial_sort(candidates_,
                              candidates_.begin() + static_cast<std::ptrdiff_t>(wanted), better);
    candidates_.resize(wanted);
    for (Candidate& candidate : candidates_) candidate.logit = scaled(candidate.logit);
  }

  double mass = set_weights(candidates_);
  if (params.top_p < 1.0f) mass = keep_top_p(candidates_, mass, params.top_p);
  if (params.min_p > 0.0f) mass = keep_min_p(candidates_, params.min_p);

  const double target = static_cast<double>(u) * mass;
  double cumulative = 0.0;
  int32_t chosen = candidates_.back().id;
  bool found = false;
  for (Candidate& candidate : candidates_) {
    cumulative += static_cast<double>(candidate.probability);
    if (!found && cumulative > target) {
      chosen = candidate.id;
      found = true;
    }
    candidate.probability = static_cast<float>(static_cast<double>(candidate.probability) / mass);
  }
  return chosen;
}

}  // namespace dunlin
