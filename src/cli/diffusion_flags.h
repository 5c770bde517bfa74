// Flags for models that fill in masks, and what they mean for a request.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/metadata.h"
#include "base/result.h"
#include "cli/command.h"
#include "cli/sampling_flags.h"
#include "decode/diffusion_params.h"

namespace dunlin {

struct DiffusionFlags {
  std::optional<int64_t> steps = {}, block_length = {};
  std::optional<std::string> algorithm = {}, cache = {};
  std::optional<double> alg_temperature = {}, eps = {}, entropy_bound = {};
  std::optional<float> threshold = {};
  bool visual = false, stream = false;
  bool early_exit = true;

  void add_to(Command command);
  // Those that choose how masks are filled in alone, for commands that show no text.
  void add_schedule_to(Command command);

  // Error (kind usage): one of them is given, and the model writes token after token.
  Result<void> refuse_all() const;

  // Without max_tokens, steps, seed and end_ids, which a line of a batch may set. Temperature, top_p
  // and top_k come from their flags, else generation_config.json, else are off. Error (kind usage):
  // a flag of `sampling` that only a model that writes token after token knows.
  Result<DiffusionParams> params(const SamplingFlags& sampling, const Metadata& config) const;

 private:
  void add_schedule_flags(Command command);
};

}  // namespace dunlin
