// What a request asks of masked diffusion: how many steps, which positions each of them decides, and
// what may be kept between them. Names and defaults are those of the published diffusion_generate
// (Dream 7B, generation_utils.py) and of Fast-dLLM v1 (arXiv 2505.22618).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace dunlin {

// Which masked positions a step decides.
enum class DiffusionAlgorithm : uint8_t {
  origin,                // each with the same probability
  maskgit_plus,          // the tokens of highest probability
  topk_margin,           // the largest distance to the second best token
  entropy,               // the lowest entropy
  confidence_threshold,  // all whose probability reaches a threshold, at least one
  entropy_bound          // the lowest entropies, as far as their sum allows, at least one
};

// What a forward pass takes over from an earlier one.
enum class DiffusionCache : uint8_t {
  none,    // nothing: exact
  prefix,  // keys and values before the block
  dual     // and those behind it
};

struct DiffusionParams {
  int64_t max_tokens = 128;  // masks behind the prompt
  // Of the schedule. Nothing to entropy_bound, nor to confidence_threshold with a cache.
  int64_t steps = 128;
  double eps = 1e-3;  // time at which the schedule ends
  DiffusionAlgorithm algorithm = DiffusionAlgorithm::entropy;
  // > 0: positions are drawn from softmax(confidence / alg_temperature), 0: the surest ones.
  double alg_temperature = 0.0;
  float temperature = 0.0f;  // of tokens; 0: the most probable
  float top_p = 1.0f;        // 1: off
  int32_t top_k = 0;         // 0: off; applied after top_p
  DiffusionCache cache = DiffusionCache::none;
  int64_t block_length = 32;   // with a cache: blocks are decided from left to right
  float threshold = 0.9f;      // of confidence_threshold
  double entropy_bound = 0.1;  // of entropy_bound, nats
  // > 0: with a cache, every so many passes within a block compute all positions anew; 1 is exact.
  int64_t refresh_every = 0;
  uint64_t seed = 0;
  uint32_t choice = 0;  // several answers to one request differ in it
  // The answer is cut at the first of these. Not empty: no pass is made once that cut is certain.
  std::vector<int32_t> end_ids = {};
};

// Ranges of every field, with the field named in the error (kind usage).
Result<void> validate(const DiffusionParams& params);

// "entropy"; nothing for a name that is none.
std::optional<DiffusionAlgorithm> diffusion_algorithm(std::string_view name);
std::optional<DiffusionCache> diffusion_cache(std::string_view name);
const char* diffusion_algorithm_name(DiffusionAlgorithm algorithm);

// The schedule: time falls from 1 to eps in equal steps, and step i of n decides this share of what
// is masked: 1 - t(i + 1) / t(i), and the last one all.
double unmasked_share(int64_t step, int64_t steps, double eps);
// floor(masked * unmasked_share(...)).
int64_t unmasked_count(int64_t masked, int64_t step, int64_t steps, double eps);

}  // namespace dunlin
