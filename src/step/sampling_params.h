// SamplingParams: how a token is drawn from a row of logits. Names and meanings are the field's
// (llama.cpp, vLLM).
#pragma once

#include <cstdint>
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

}  // namespace dunlin
