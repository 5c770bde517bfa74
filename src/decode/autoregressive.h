// AutoregressiveDecoder: how logits become the next token of one sequence. A pure state machine: the
// engine asks it what to compute, computes it, and hands it the logits.
#pragma once

#include <dunlin/request.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "sampler/sampler.h"
#include "step/step.h"

namespace dunlin {

struct AutoregressiveParams {
  SamplingParams sampling = {};
  CustomSampler custom_sampler = {};   // empty: `sampling` alone
  int64_t max_tokens = 0;              // of the answer
  std::vector<int32_t> stop_ids = {};  // end the answer and are not part of it
  uint32_t choice = 0;                 // several answers to one request differ in it
};

class AutoregressiveDecoder {
 public:
  // Nothing of the prompt (at least one token) is computed yet.
  AutoregressiveDecoder(std::vector<int32_t> prompt, AutoregressiveParams params);

  // The first `computed` tokens, fewer than all, were found in the cache.
  void resume(int64_t computed);
  // The cache was given up, and everything is computed again: with the classes of `computed` (the
  // rows so far), which give the same bits.
  void restart(std::span<const RowClass> computed);

  // Tokens that the next steps must compute, in order, as far as their rows are of one class; empty
  // when finished. Their first position is length().
  std::span<const int32_t> pending() const;
  RowClass row_class() const { return class_of(static_cast<size_t>(computed_)); }
  int64_t length() const { return computed_; }
  // pending() is the prompt, or repeats what was computed before a restart; otherwise it is what the
  // last step brought.
  bool prefilling() const { return computed_ < known_; }

  // The step computed the next `rows` of pending(). The logits are wanted once nothing is pending.
  void advance(int64_t rows);
  bool wants_logits_after(int64_t rows) const {
    return computed_ + rows == static_cast<int64_t>(tokens_.size());
  }

  // Draws a token from the logits of the last row; it becomes pending unless it ends the answer.
  // Errors: logits that are not numbers, an id of the custom sampler outside the vocabulary. What
  // that sampler throws passes through.
  Result<int32_t> accept(const LogitsView& view);

  // Whether every token is the best candidate of its logits: a device can choose it by itself then.
  bool takes_best() const;
  // Whether accept() reads the whole row of a view with so many candidates.
  bool needs_whole_row(int64_t candidates) const;
  // Tokens that are missing until max_tokens.
  int64_t tokens_left() const { return params_.max_tokens - answer_size(); }
  std::span<const int32_t> stop_ids() const { return params_.stop_ids; }

  // Ends the answer from outside: a stop string.
  void finish(FinishReason reason) { finished_ = reason; }

  std::optional<FinishReason> finished() const { return finished_; }
  std::span<const int32_t> tokens() const { return tokens_; }  // prompt and answer
  std::span<const int32_t> answer() const { return tokens().subspan(prompt_size_); }
  int64_t prompt_size() const { return static_cast<int64_t>(prompt_size_); }
  // Leading tokens whose rows are of class `prompt`: those that any prefill computes alike.
  std::span<const int32_t> leading_prompt_rows() const;

 private:
  int64_t answer_size() const { return static_cast<int64_t>(tokens_.size() - prompt_size_); }
  RowClass class_of(size_t position) const;
  Result<int32_t> draw(const LogitsView& view);

  std::vector<int32_t> tokens_ = {};  // prompt and answer, without the stop token
  size_t prompt_size_;
  int64_t computed_ = 0;
  int64_t known_;                       // tokens there were at the start or restart
  std::vector<RowClass> classes_ = {};  // of the rows before a restart
  AutoregressiveParams params_;
  Sampler sampler_;
  std::optional<FinishReason> finished_ = {};
};

}  // namespace dunlin
