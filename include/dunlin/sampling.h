// How a token is drawn from a row of logits: the parameters of the built-in sampler, whose names and
// meanings are the field's (llama.cpp, vLLM), and the hook for a sampler of one's own.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace dunlin {

struct SamplingParams {
  float temperature = 0.8f;  // 0: greedy, the lowest id among equal logits
  int32_t top_k = 40;        // 0: off
  float top_p = 0.95f;       // 1: off
  float min_p = 0.05f;       // 0: off
  float repeat_penalty =
      1.0f;  // > 1 divides positive and multiplies negative logits of tokens seen before
  float frequency_penalty = 0.0f;  // times the count of the token in the output
  float presence_penalty = 0.0f;   // once for a token in the output
  int32_t repeat_last_n = 64;  // tokens of history that repeat_penalty looks at; 0: off, -1: all
  std::vector<std::pair<int32_t, float>> logit_bias = {};  // added before everything else
  uint64_t seed = 0;
};

// What a custom sampler sees of one row of logits: the model's own, before any bias, penalty or
// temperature. Valid during the call.
class SamplerInput {
 public:
  std::span<const int32_t> tokens = {};  // of the sequence so far: the prompt, then the answer
  size_t prompt_tokens = 0;
  // The best candidates by descending logit, ties by lowest id.
  std::span<const int32_t> ids = {};
  std::span<const float> logits = {};
  // Of the whole row: exp(logit - log_sum_exp) is a probability.
  float log_sum_exp = 0;
  float entropy = 0;     // nats
  float varentropy = 0;  // nats squared
  // Uniform in [0, 1), from the request's seed and the token's position: a sampler that takes its
  // chance from here gives the same answer whatever else is being served.
  float uniform = 0;

  // The whole row, [vocabulary].
  std::span<const float> row() const { return row_; }

  void set_row(std::span<const float> row) { row_ = row; }

 private:
  std::span<const float> row_ = {};
};

// Chooses the token; nothing: the request's SamplingParams do. Called by the owner of step(). An id
// outside the vocabulary fails the request; an exception ends it as one of its event sink does.
using CustomSampler = std::function<std::optional<int32_t>(const SamplerInput&)>;

}  // namespace dunlin
