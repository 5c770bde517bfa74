// AutoregressiveDecoder: how logits become the next token of one sequence. A pure state machine: the engine asks it what
// to compute, computes it, and hands it the logits.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "sampler/sampler.h"
#include "step/sampling_params.h"
#include "step/step.h"

namespace dunlin {

enum class FinishReason : uint8_t {
  stop,
  length
};  // a stop token or stop string; max_tokens or the context

struct AutoregressiveParams {
  SamplingParams sampling = {};
  int64_t max_tokens = 0;              // of the answer
  std::vector<int32_t> stop_ids = {};  // end the answer and are not part of it
  uint32_t choice = 0;                 // several answers to one request differ in it
};

class AutoregressiveDecoder {
 public:
  // The first `computed` tokens of the prompt (fewer than all) are in the cache already.
  AutoregressiveDecoder(std::vector<int32_t> prompt, int64_t computed, AutoregressiveParams params);

  // Tokens that the next steps must compute, in order; empty when finished. Their first position is length().
  std::span<const int32_t> pending() const {
    return std::span(tokens_).subspan(static_cast<size_t>(computed_));
  }
  int64_t length() const { return computed_; }
  RowClass row_class() const { return answer_size() == 0 ? RowClass::prompt : RowClass::generated; }

  // The step computed the next `rows` of pending(). The logits are wanted once all are.
  void advance(int64_t rows);
  bool wants_logits() const { return !finished_ && pending().empty(); }

  // Draws a token from the logits of the last pending row; it becomes pending unless it ends the answer.
  Result<int32_t> accept(const LogitsView& view);

  // Ends the answer from outside: a stop string, or a context that is full.
  void finish(FinishReason reason) { finished_ = reason; }

  std::optional<FinishReason> finished() const { return finished_; }
  std::span<const int32_t> answer() const { return std::span(tokens_).subspan(prompt_size_); }
  int64_t prompt_size() const { return static_cast<int64_t>(prompt_size_); }

 private:
  int64_t answer_size() const { return static_cast<int64_t>(tokens_.size() - prompt_size_); }

  std::vector<int32_t> tokens_ = {};  // prompt and answer, without the stop token
  size_t prompt_size_;
  int64_t computed_;
  AutoregressiveParams params_;
  Sampler sampler_;
  std::optional<FinishReason> finished_ = {};
};

}  // namespace dunlin
