#include "decode/autoregressive.h"

#include <algorithm>

#include "base/check.h"
#include "sampler/philox.h"

namespace dunlin {

AutoregressiveDecoder::AutoregressiveDecoder(std::vector<int32_t> prompt, int64_t computed,
                                             AutoregressiveParams params)
    : tokens_(std::move(prompt)),
      prompt_size_(tokens_.size()),
      computed_(computed),
      params_(std::move(params)) {
  DUNLIN_CHECK(computed >= 0 && static_cast<size_t>(computed) < tokens_.size(),
               "at least one token is left to compute");
  if (params_.max_tokens == 0) finished_ = FinishReason::length;
}

void AutoregressiveDecoder::advance(int64_t rows) {
  DUNLIN_CHECK(rows >= 0 && computed_ + rows <= static_cast<int64_t>(tokens_.size()),
               "more rows than were pending");
  computed_ += rows;
}

Result<int32_t> AutoregressiveDecoder::accept(const LogitsView& view) {
  // The position of the token that is drawn keys its random number, so it is the same however it came about.
  const auto position = static_cast<uint64_t>(tokens_.size());
  const float u = uniform(params_.sampling.seed, params_.choice, position, RandomPurpose::token);
  DUNLIN_ASSIGN_OR_RETURN(const int32_t token,
                          sampler_.sample(view, params_.sampling, tokens_, answer_size(), u));
  if (std::ranges::find(params_.stop_ids, token) != params_.stop_ids.end()) {
    finished_ = FinishReason::stop;
    return token;
  }
  tokens_.push_back(token);
  if (answer_size() >= params_.max_tokens) finished_ = FinishReason::length;
  return token;
}

}  // namespace dunlin
