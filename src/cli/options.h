// Flags that several commands share, and what they mean for the engine.
#pragma once

#include <dunlin/sampling.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/metadata.h"
#include "base/result.h"
#include "cli/terminal.h"
#include "engine/model.h"

namespace dunlin {

struct ModelFlags {
  std::string model = {};
  std::string context = "auto";
  int threads = 0;
  int64_t parallel = 1;
  int64_t ubatch = 512;
  std::string backend = "cpu";
  std::string precision = "auto";
  int64_t layers = -1;
  std::vector<std::string> disable = {};
  bool quiet = false;
  bool verbose = false;

  void add_to(CLI::App& command);
  Result<ModelOptions> options() const;
};

struct SamplingFlags {
  std::optional<float> temperature, top_p, min_p, repeat_penalty, frequency_penalty,
      presence_penalty;
  std::optional<int32_t> top_k, repeat_last_n;
  std::vector<std::string> logit_bias = {};  // TOKEN_ID(+|-)BIAS, llama.cpp's form
  std::optional<uint64_t> seed;

  void add_to(CLI::App& command);
  // Flag, else the model's generation_config, else the built-in value; the seed is random when none
  // was given.
  Result<SamplingParams> params(const Metadata& config) const;
};

Result<Precision> parse_precision(const std::string& name);

// Integers with k, K, m or M behind them; "auto" is 0.
Result<int64_t> parse_size(const std::string& field, const std::string& text);

// DUNLIN_ARG_MAX_TOKENS for "max-tokens".
std::string environment_name(const std::string& long_name);

// Adds a flag with the environment variable of its first long name.
template <typename T>
CLI::Option* add_flag(CLI::App& command, const std::string& names, T& value,
                      const std::string& help) {
  CLI::Option* option = command.add_option(names, value, help);
  // One value per occurrence: a list must not take the arguments that follow it.
  option->allow_extra_args(false);
  if (!option->get_lnames().empty())
    option->envname(environment_name(option->get_lnames().front()));
  return option;
}

// The same for a flag without a value; its variable takes 1, true, on or yes.
CLI::Option* add_switch(CLI::App& command, const std::string& names, bool& value,
                        const std::string& help);

// Loads the model with a progress bar and prints the banner unless --quiet.
Result<std::unique_ptr<Model>> load_with_banner(const ModelFlags& flags,
                                                const ModelOptions& options);

}  // namespace dunlin
