#include "decode/autoregressive.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/check.h"
#include "sampler/philox.h"

namespace dunlin {

AutoregressiveDecoder::AutoregressiveDecoder(std::vector<int32_t> prompt,
                                             AutoregressiveParams params)
    : tokens_(std::move(prompt)),
      prompt_size_(tokens_.size()),
      known_(static_cast<int64_t>(prompt_size_)),
      params_(std::move(params)) {
  DUNLIN_CHECK(prompt_size_ > 0, "a prompt has at least one token");
  if (params_.max_tokens == 0) finished_ = FinishReason::length;
}

void AutoregressiveDecoder::resume(int64_t computed) {
  DUNLIN_CHECK(computed >= 0 && computed < static_cast<int64_t>(tokens_.size()),
               "at least one token is left to compute");
  computed_ = computed;
}

void AutoregressiveDecoder::restart(std::span<const RowClass> computed) {
  DUNLIN_CHECK(std::ssize(computed) == computed_, "the classes of other rows");
  classes_.assign(computed.begin(), computed.end());
  computed_ = 0;
  known_ = static_cast<int64_t>(tokens_.size());
}

RowClass AutoregressiveDecoder::class_of(size_t position) const {
  if (position < classes_.size()) return classes_[position];
  return position < prompt_size_ ? RowClass::prompt : RowClass::generated;
}

std::span<const int32_t> AutoregressiveDecoder::pending() const {
  if (finished_) return {};
  const auto begin = static_cast<size_t>(computed_);
  size_t end = begin;
  while (end < tokens_.size() && class_of(end) == class_of(begin)) ++end;
  return tokens().subspan(begin, end - begin);
}

std::span<const int32_t> AutoregressiveDecoder::leading_prompt_rows() const {
  size_t count = 0;
  while (count < tokens_.size() && class_of(count) == RowClass::prompt) ++count;
  return tokens().first(count);
}

void AutoregressiveDecoder::advance(int64_t rows) {
  DUNLIN_CHECK(rows >= 0 && computed_ + rows <= static_cast<int64_t>(tokens_.size()),
               "more rows than were pending");
  computed_ += rows;
}

bool AutoregressiveDecoder::takes_best() const {
  return !params_.custom_sampler && dunlin::takes_best(params_.sampling);
}

// A custom sampler may look at all of it.
bool AutoregressiveDecoder::needs_whole_row(int64_t candidates) const {
  return params_.custom_sampler || dunlin::needs_whole_row(params_.sampling, candidates);
}

Result<int32_t> AutoregressiveDecoder::draw(const LogitsView& view) {
  // The position of the token that is drawn keys its random number, so it is the same however it
  // came about.
  const auto position = static_cast<uint64_t>(tokens_.size());
  const float u = uniform(params_.sampling.seed, params_.choice, position, RandomPurpose::token);
  if (params_.custom_sampler && view.finite) {
    SamplerInput input;
    input.tokens = tokens_;
    input.prompt_tokens = prompt_size_;
    input.ids = view.ids;
    input.logits = view.logits;
    input.log_sum_exp = view.lse;
    input.entropy = view.entropy;
    input.varentropy = view.varentropy;
    input.uniform = u;
    input.set_row(view.row);
    if (const auto chosen = params_.custom_sampler(input)) {
      if (*chosen >= 0 && std::cmp_less(*chosen, view.row.size())) return *chosen;
      return usage_error("the custom sampler chose token " + std::to_string(*chosen) +
                         ", outside 0.." + std::to_string(view.row.size() - 1));
    }
  }
  return sampler_.sample(view, params_.sampling, tokens_, answer_size(), u);
}

Result<int32_t> AutoregressiveDecoder::accept(const LogitsView& view) {
  DUNLIN_ASSIGN_OR_RETURN(const int32_t token, draw(view));
  if (std::ranges::find(params_.stop_ids, token) != params_.stop_ids.end()) {
    finished_ = FinishReason::stop;
    return token;
  }
  tokens_.push_back(token);
  if (answer_size() >= params_.max_tokens) finished_ = FinishReason::length;
  return token;
}

}  // namespace dunlin
