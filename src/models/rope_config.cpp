// inv[i] = theta^(-2i/D) in float32; llama3 scaling as in transformers' modeling_rope_utils
// (Llama 3.1):
//   wavelength = 2 pi / inv;  shorter than orig / high: inv;  longer than orig / low: inv / factor;
//   between: a blend.
#include "models/rope_config.h"

#include <fmt/format.h>

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
  } else if (type != "default") {
    return model_error(
        fmt::format("{}: rope_scaling.rope_type \"{}\" is not supported (default, llama3)",
                    config.origin(), type));
  }
  return angles;
}

}  // namespace dunlin
