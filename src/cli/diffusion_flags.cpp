#include "cli/diffusion_flags.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "cli/flags.h"

namespace dunlin {
namespace {

constexpr const char* kHeading = "Diffusion models";

template <typename T>
T chosen(std::optional<T> flag, const Metadata& config, const char* name, T otherwise) {
  if (flag.has_value()) return *flag;
  const auto number = config.number(generation_key(name), -1e9, 1e9);
  return number.ok() ? static_cast<T>(*number) : otherwise;
}

}  // namespace

void DiffusionFlags::add_schedule_to(Command command) {
  const FlagGroup group(command, kHeading);
  add_schedule_flags(command);
}

void DiffusionFlags::add_to(Command command) {
  const FlagGroup group(command, kHeading);
  add_schedule_flags(command);
  add_switch(command, "--early-exit", early_exit,
             "stop when nothing before the first end token is masked: the answer is the same "
             "(--early-exit=false: make all passes)")
      .default_str("true");
  add_switch(command, "--visual", visual, "show on stderr how the text appears");
  add_switch(command, "--stream", stream, "with --json: a line after every step");
}

void DiffusionFlags::add_schedule_flags(Command command) {
  add_flag(command, "--steps", steps, "steps of the schedule (default: one per mask)")
      .check(in_range(1, 1 << 20));
  add_flag(command, "--alg", algorithm, "which masks a step fills in")
      .check(one_of({"origin", "maskgit_plus", "topk_margin", "entropy", "confidence_threshold",
                     "entropy_bound"}))
      .default_str("entropy");
  add_flag(command, "--alg-temp", alg_temperature,
           "draw positions at this temperature of their confidence (0: the surest)")
      .check(in_real_range(0.0, 1e6))
      .default_str("0");
  add_flag(command, "--eps", eps, "time at which the schedule ends")
      .check(in_real_range(1e-6, 1.0 - 1e-6))
      .default_str("0.001");
  add_flag(command, "--dlm-cache", cache,
           "keys and values kept within a block: none is exact, dual the fastest")
      .check(one_of({"none", "prefix", "dual"}))
      .default_str("none");
  add_flag(command, "--block-length", block_length,
           "tokens of a block, with --dlm-cache prefix or dual")
      .check(in_range(1, 1 << 20))
      .default_str("32");
  add_flag(command, "--threshold", threshold,
           "of --alg confidence_threshold: fill in all tokens at least as probable")
      .check(in_real_range(0.0, 1.0))
      .default_str("0.9");
  add_flag(
      command, "--entropy-bound", entropy_bound,
      "of --alg entropy_bound: the lowest entropies whose sum, but for the largest, stays within "
      "it (nats)")
      .check(in_real_range(0.0, 1e6))
      .default_str("0.1");
}

Result<void> DiffusionFlags::refuse_all() const {
  const std::array<std::pair<const char*, bool>, 10> given = {{
      {"--steps", steps.has_value()},
      {"--alg", algorithm.has_value()},
      {"--alg-temp", alg_temperature.has_value()},
      {"--eps", eps.has_value()},
      {"--dlm-cache", cache.has_value()},
      {"--block-length", block_length.has_value()},
      {"--threshold", threshold.has_value()},
      {"--entropy-bound", entropy_bound.has_value()},
      {"--visual", visual},
      {"--stream", stream},
  }};
  for (const auto& [name, is_given] : given) {
    if (is_given)
      return usage_error(fmt::format("{} is for diffusion models, which this is not", name));
  }
  return {};
}

Result<DiffusionParams> DiffusionFlags::params(const SamplingFlags& sampling,
                                               const Metadata& config) const {
  const std::array<std::pair<const char*, bool>, 6> unknown = {{
      {"--min-p", sampling.min_p.has_value()},
      {"--repeat-penalty", sampling.repeat_penalty.has_value()},
      {"--repeat-last-n", sampling.repeat_last_n.has_value()},
      {"--frequency-penalty", sampling.frequency_penalty.has_value()},
      {"--presence-penalty", sampling.presence_penalty.has_value()},
      {"--logit-bias", !sampling.logit_bias.empty()},
  }};
  for (const auto& [name, is_given] : unknown) {
    if (is_given) return usage_error(fmt::format("{} has no meaning for a diffusion model", name));
  }
  DiffusionParams params;
  // The flags' own checks leave no other names.
  if (algorithm.has_value())
    params.algorithm = diffusion_algorithm(*algorithm).value_or(params.algorithm);
  if (cache.has_value()) params.cache = diffusion_cache(*cache).value_or(params.cache);
  params.alg_temperature = alg_temperature.value_or(params.alg_temperature);
  params.eps = eps.value_or(params.eps);
  params.block_length = block_length.value_or(params.block_length);
  params.threshold = threshold.value_or(params.threshold);
  params.entropy_bound = entropy_bound.value_or(params.entropy_bound);
  params.temperature = chosen(sampling.temperature, config, "--temp", params.temperature);
  params.top_p = chosen(sampling.top_p, config, "--top-p", params.top_p);
  // generation_config.json may have -1 for off.
  params.top_k = std::max(0, chosen(sampling.top_k, config, "--top-k", params.top_k));
  DUNLIN_RETURN_IF_ERROR(validate(params));
  return params;
}

}  // namespace dunlin
