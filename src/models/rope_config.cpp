// inv[i] = theta^(-2i/D) in float32; llama3 scaling as in transformers' modeling_rope_utils
// (Llama 3.1):
//   wavelength = 2 pi / inv;  shorter than orig / high: inv;  longer than orig / low: inv / factor;
//   between: a blend.
// YaRN as there (Peng et al., "YaRN: Efficient Context Window Extension of Large Language Models",
// 2023): dim(r) = D ln(orig / (2 pi r)) / (2 ln theta) is the pair that turns r times within the
// original positions; pairs before dim(beta_fast) keep their frequency, those behind
// dim(beta_slow) are divided by the factor, between them lies a ramp.
#include "models/rope_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

namespace dunlin {
namespace {

std::vector<float> plain_frequencies(double theta, int64_t head_dim) {
  std::vector<float> frequencies;
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    // Rounded to float32 after each step, as the published code computes them.
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
    const float power = static_cast<float>(std::pow(theta, static_cast<double>(exponent)));
    frequencies.push_back(1.0f / power);
  }
  return frequencies;
}

Result<void> scale_llama3(const Metadata& config, std::vector<float>& frequencies) {
  DUNLIN_ASSIGN_OR_RETURN(const double factor, config.number("rope_scaling.factor", 1.0, 1e6));
  DUNLIN_ASSIGN_OR_RETURN(const double low,
                          config.number("rope_scaling.low_freq_factor", 1e-6, 1e6));
  DUNLIN_ASSIGN_OR_RETURN(const double high,
                          config.number("rope_scaling.high_freq_factor", 1e-6, 1e6));
  DUNLIN_ASSIGN_OR_RETURN(
      const double original,
      config.number("rope_scaling.original_max_position_embeddings", 1.0, 1e12));
  if (high <= low) {
    return model_error(
        fmt::format("{}: rope_scaling.high_freq_factor {} is not above low_freq_factor {}",
                    config.origin(), high, low));
  }
  for (float& frequency : frequencies) {
    const double inv = static_cast<double>(frequency);
    const double wavelength = 2.0 * std::numbers::pi / inv;
    if (wavelength < original / high) continue;
    if (wavelength > original / low) {
      frequency = static_cast<float>(inv / factor);
    } else {
      const double smooth = (original / wavelength - low) / (high - low);
      frequency = static_cast<float>((1.0 - smooth) * inv / factor + smooth * inv);
    }
  }
  return {};
}

struct YarnRange {
  double low, high;  // pairs between which the ramp lies
};

Result<YarnRange> yarn_range(const Metadata& config, double theta, int64_t head_dim) {
  DUNLIN_ASSIGN_OR_RETURN(
      const double original,
      config.number("rope_scaling.original_max_position_embeddings", 1.0, 1e12));
  DUNLIN_ASSIGN_OR_RETURN(const double fast,
                          config.number_or("rope_scaling.beta_fast", 1e-6, 1e6, 32.0));
  DUNLIN_ASSIGN_OR_RETURN(const double slow,
                          config.number_or("rope_scaling.beta_slow", 1e-6, 1e6, 1.0));
  DUNLIN_ASSIGN_OR_RETURN(const bool truncate, config.boolean_or("rope_scaling.truncate", true));
  if (theta <= 1.0) {
    return model_error(
        fmt::format("{}: rope_theta {} has no YaRN frequencies", config.origin(), theta));
  }
  const auto dims = static_cast<double>(head_dim);
  const auto pair_that_turns = [&](double turns) {
    return dims * std::log(original / (2.0 * std::numbers::pi * turns)) / (2.0 * std::log(theta));
  };
  YarnRange range{pair_that_turns(fast), pair_that_turns(slow)};
  if (truncate) range = {std::floor(range.low), std::ceil(range.high)};
  range = {std::max(range.low, 0.0), std::min(range.high, dims - 1.0)};
  if (range.low == range.high) range.high += 0.001;
  return range;
}

// Also the factor of cos and sin.
Result<void> scale_yarn(const Metadata& config, double theta, int64_t head_dim,
                        RopeAnglesAttributes& angles) {
  DUNLIN_ASSIGN_OR_RETURN(const double factor, config.number("rope_scaling.factor", 1.0, 1e6));
  DUNLIN_ASSIGN_OR_RETURN(const YarnRange range, yarn_range(config, theta, head_dim));
  DUNLIN_ASSIGN_OR_RETURN(
      const double attention,
      config.number_or("rope_scaling.attention_factor", 1e-3, 1e3, 0.1 * std::log(factor) + 1.0));
  for (size_t i = 0; i < angles.inv_freq.size(); ++i) {
    const double inv = static_cast<double>(angles.inv_freq[i]);
    const double ramp =
        std::clamp((static_cast<double>(i) - range.low) / (range.high - range.low), 0.0, 1.0);
    angles.inv_freq[i] = static_cast<float>(inv / factor * ramp + inv * (1.0 - ramp));
  }
  angles.scale = static_cast<float>(attention);
  return {};
}

Result<void> divide(const Metadata& config, std::vector<float>& frequencies) {
  const auto* divisors = std::get_if<std::vector<double>>(config.find("rope_freq_divisors"));
  if (divisors == nullptr || divisors->size() != frequencies.size()) {
    return model_error(fmt::format("{}: rope_freqs.weight does not hold {} values", config.origin(),
                                   frequencies.size()));
  }
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double divisor = (*divisors)[i];
    if (!(divisor > 0.0) || !std::isfinite(divisor)) {
      return model_error(
          fmt::format("{}: rope_freqs.weight[{}] is {}", config.origin(), i, divisor));
    }
    frequencies[i] = static_cast<float>(static_cast<double>(frequencies[i]) / divisor);
  }
  return {};
}

}  // namespace

Result<RopeAnglesAttributes> rope_angles_from(const Metadata& config, int64_t head_dim) {
  DUNLIN_ASSIGN_OR_RETURN(const double theta, config.number_or("rope_theta", 1.0, 1e12, 10000.0));
  RopeAnglesAttributes angles{.inv_freq = plain_frequencies(theta, head_dim), .scale = 1.0f};
  DUNLIN_ASSIGN_OR_RETURN(const std::string type,
                          config.text_or("rope_scaling.rope_type", "default"));
  if (config.has("rope_freq_divisors")) {
    DUNLIN_RETURN_IF_ERROR(divide(config, angles.inv_freq));
  } else if (type == "llama3") {
    DUNLIN_RETURN_IF_ERROR(scale_llama3(config, angles.inv_freq));
  } else if (type == "yarn") {
    DUNLIN_RETURN_IF_ERROR(scale_yarn(config, theta, head_dim, angles));
  } else if (type != "default") {
    return model_error(
        fmt::format("{}: rope_scaling.rope_type \"{}\" is not supported (default, llama3, yarn)",
                    config.origin(), type));
  }
  return angles;
}

}  // namespace dunlin
