#include "decode/diffusion_params.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <utility>

#include "sampler/sampler.h"

namespace dunlin {
namespace {

constexpr std::array<std::pair<std::string_view, DiffusionAlgorithm>, 6> kAlgorithms = {{
    {"origin", DiffusionAlgorithm::origin},
    {"maskgit_plus", DiffusionAlgorithm::maskgit_plus},
    {"topk_margin", DiffusionAlgorithm::topk_margin},
    {"entropy", DiffusionAlgorithm::entropy},
    {"confidence_threshold", DiffusionAlgorithm::confidence_threshold},
    {"entropy_bound", DiffusionAlgorithm::entropy_bound},
}};

constexpr std::array<std::pair<std::string_view, DiffusionCache>, 3> kCaches = {{
    {"none", DiffusionCache::none},
    {"prefix", DiffusionCache::prefix},
    {"dual", DiffusionCache::dual},
}};

template <typename T, size_t N>
std::optional<T> find_name(const std::array<std::pair<std::string_view, T>, N>& names,
                           std::string_view name) {
  for (const auto& [each, value] : names) {
    if (each == name) return value;
  }
  return std::nullopt;
}

Result<void> in_whole_range(const char* field, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return {};
  return usage_error(fmt::format("{} is {}, outside {}..{}", field, value, low, high));
}

}  // namespace

Result<void> validate(const DiffusionParams& params) {
  constexpr double kSmallestEps = 1e-6;
  // A step has 4 bytes, even one that decides nothing; and blocks are counted by a sum with their
  // length.
  constexpr int64_t kMost = 1 << 20;
  DUNLIN_RETURN_IF_ERROR(in_whole_range("max_tokens", params.max_tokens, 0, INT32_MAX));
  DUNLIN_RETURN_IF_ERROR(in_whole_range("steps", params.steps, 1, kMost));
  DUNLIN_RETURN_IF_ERROR(in_whole_range("block_length", params.block_length, 1, kMost));
  DUNLIN_RETURN_IF_ERROR(in_whole_range("refresh_every", params.refresh_every, 0, kMost));
  DUNLIN_RETURN_IF_ERROR(in_whole_range("top_k", params.top_k, 0, 1 << 30));
  DUNLIN_RETURN_IF_ERROR(in_range("eps", params.eps, kSmallestEps, 1.0 - kSmallestEps));
  DUNLIN_RETURN_IF_ERROR(in_range("alg_temp", params.alg_temperature, 0.0, 1e6));
  DUNLIN_RETURN_IF_ERROR(
      in_range("temperature", static_cast<double>(params.temperature), 0.0, 100.0));
  DUNLIN_RETURN_IF_ERROR(in_range("top_p", static_cast<double>(params.top_p), 0.0, 1.0));
  DUNLIN_RETURN_IF_ERROR(in_range("entropy_bound", params.entropy_bound, 0.0, 1e6));
  return in_range("threshold", static_cast<double>(params.threshold), 0.0, 1.0);
}

std::optional<DiffusionAlgorithm> diffusion_algorithm(std::string_view name) {
  return find_name(kAlgorithms, name);
}

std::optional<DiffusionCache> diffusion_cache(std::string_view name) {
  return find_name(kCaches, name);
}

const char* diffusion_algorithm_name(DiffusionAlgorithm algorithm) {
  const auto* const row = std::ranges::find(
      kAlgorithms, algorithm, &std::pair<std::string_view, DiffusionAlgorithm>::second);
  return row == std::end(kAlgorithms) ? "" : row->first.data();
}

// In double: the published loop works in float32, whose roundings change no count of any schedule up
// to 299 masks, nor of 512, 768 and 1024.
double unmasked_share(int64_t step, int64_t steps, double eps) {
  if (step + 1 >= steps) return 1.0;
  const auto time = [steps, eps](int64_t k) {
    return 1.0 + static_cast<double>(k) * (eps - 1.0) / static_cast<double>(steps);
  };
  return 1.0 - time(step + 1) / time(step);
}

int64_t unmasked_count(int64_t masked, int64_t step, int64_t steps, double eps) {
  return static_cast<int64_t>(static_cast<double>(masked) * unmasked_share(step, steps, eps));
}

}  // namespace dunlin
