#include "cli/sampling_flags.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <random>
#include <utility>

#include "cli/flags.h"
#include "cli/numbers.h"
#include "sampler/sampler.h"

namespace dunlin {
namespace {

// TOKEN_ID followed by a signed number, as in 15043+1 or 29905-0.5.
Result<std::pair<int32_t, float>> parse_logit_bias(const std::string& text) {
  const Error wrong =
      usage_error(fmt::format("\"{}\" is not of the form TOKEN_ID+BIAS or TOKEN_ID-BIAS", text));
  const size_t sign = text.find_first_of("+-");
  if (sign == std::string::npos) return wrong;
  int32_t id = 0;
  float bias = 0.0f;
  const std::string_view number = std::string_view(text).substr(sign + 1);
  if (!parse_number(text.substr(0, sign), id).empty() || number.starts_with('-') ||
      !parse_number(number, bias).empty())
    return wrong;
  if (text[sign] == '-') bias = -bias;
  return std::pair(id, bias);
}

template <typename T>
void choose(std::optional<T> given, const Metadata& config, const char* flag, T& value) {
  if (given.has_value()) {
    value = *given;
  } else if (const auto number = config.number(generation_key(flag), -1e30, 1e30); number.ok()) {
    value = static_cast<T>(*number);
  }
}

// For Flag::check: the range that the sampler gives one of its parameters.
template <typename T>
Check in_range_of(T SamplingParams::* field) {
  return {[field](const std::string& text) -> std::string {
    SamplingParams params;
    // A text that is no number gets its message when it is assigned.
    if (!parse_number(text, params.*field).empty()) return {};
    const auto valid = validate(params, std::numeric_limits<int32_t>::max());
    return valid.ok() ? std::string() : valid.error().message;
  }};
}

// The built-in value is what --help shows, though the model's configuration may have another.
template <typename T>
void add_sampling_flag(Command command, const char* names, std::optional<T>& value,
                       T SamplingParams::* field, const char* help) {
  add_flag(command, names, value, help)
      .check(in_range_of(field))
      .default_str(fmt::format("{}", SamplingParams{}.*field));
}

std::string check_logit_bias(const std::string& text) {
  const auto bias = parse_logit_bias(text);
  if (!bias.ok()) return bias.error().message;
  const auto valid = validate({.logit_bias = {*bias}}, std::numeric_limits<int32_t>::max());
  return valid.ok() ? std::string() : valid.error().message;
}

}  // namespace

const char* generation_key(std::string_view flag) {
  constexpr std::array<std::pair<std::string_view, const char*>, 5> kKeys = {{
      {"--temp", "generation.temperature"},
      {"--top-k", "generation.top_k"},
      {"--top-p", "generation.top_p"},
      {"--min-p", "generation.min_p"},
      {"--repeat-penalty", "generation.repetition_penalty"},
  }};
  const auto* const it =
      std::ranges::find(kKeys, flag, &std::pair<std::string_view, const char*>::first);
  return it == kKeys.end() ? nullptr : it->second;
}

void SamplingFlags::add_to(Command command) {
  const FlagGroup group(command, "Sampling");
  using P = SamplingParams;
  add_sampling_flag(command, "--temp,--temperature", temperature, &P::temperature,
                    "temperature; 0 is greedy");
  add_sampling_flag(command, "--top-k", top_k, &P::top_k, "keep the k best tokens (0: all)");
  add_sampling_flag(command, "--top-p", top_p, &P::top_p,
                    "keep the best tokens up to this probability (1: all)");
  add_sampling_flag(command, "--min-p", min_p, &P::min_p,
                    "keep tokens of at least this fraction of the best one's probability");
  add_sampling_flag(command, "--repeat-penalty", repeat_penalty, &P::repeat_penalty,
                    "divide the logits of recent tokens (1: off)");
  add_sampling_flag(command, "--repeat-last-n", repeat_last_n, &P::repeat_last_n,
                    "how many tokens are recent (-1: all)");
  add_sampling_flag(command, "--frequency-penalty", frequency_penalty, &P::frequency_penalty,
                    "subtract per occurrence in the answer");
  add_sampling_flag(command, "--presence-penalty", presence_penalty, &P::presence_penalty,
                    "subtract once for tokens in the answer");
  add_flag(command, "--logit-bias", logit_bias, "TOKEN_ID+BIAS or TOKEN_ID-BIAS; may be repeated")
      .check({check_logit_bias});
  add_flag(command, "-s,--seed", seed, "seed of the random numbers (default: a new one each time)");
}

Result<SamplingParams> SamplingFlags::params(const Metadata& config) const {
  SamplingParams params;
  choose(temperature, config, "--temp", params.temperature);
  choose(top_k, config, "--top-k", params.top_k);
  choose(top_p, config, "--top-p", params.top_p);
  choose(min_p, config, "--min-p", params.min_p);
  choose(repeat_penalty, config, "--repeat-penalty", params.repeat_penalty);
  params.repeat_last_n = repeat_last_n.value_or(params.repeat_last_n);
  params.frequency_penalty = frequency_penalty.value_or(params.frequency_penalty);
  params.presence_penalty = presence_penalty.value_or(params.presence_penalty);
  params.seed = seed.has_value() ? *seed : std::random_device{}();
  for (const std::string& text : logit_bias) {
    DUNLIN_ASSIGN_OR_RETURN(const auto bias, parse_logit_bias(text));
    params.logit_bias.push_back(bias);
  }
  return params;
}

}  // namespace dunlin
