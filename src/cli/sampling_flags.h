// Flags of how a token is drawn, and what stands in for those that are not given.
#pragma once

#include <dunlin/sampling.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/metadata.h"
#include "base/result.h"
#include "cli/command.h"

namespace dunlin {

struct SamplingFlags {
  std::optional<float> temperature, top_p, min_p, repeat_penalty, frequency_penalty,
      presence_penalty;
  std::optional<int32_t> top_k, repeat_last_n;
  std::vector<std::string> logit_bias = {};  // TOKEN_ID(+|-)BIAS, llama.cpp's form
  std::optional<uint64_t> seed;

  void add_to(Command command);
  // Flag, else the model's generation_config, else the built-in value; the seed is random when none
  // was given.
  Result<SamplingParams> params(const Metadata& config) const;
};

// The key of the model's configuration that stands in for a flag that is not given: of "--top-k"
// generation.top_k; null for flags without one.
const char* generation_key(std::string_view flag);

}  // namespace dunlin
