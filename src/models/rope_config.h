// Rotary frequencies from a model's configuration.
#pragma once

#include <cstdint>

#include "base/metadata.h"
#include "base/result.h"
#include "program/attributes.h"

namespace dunlin {

// Frequencies theta^(-2i/D), i < D/2, with the scaling the configuration names: none ("default"),
// "llama3" (rope_scaling.{factor, low_freq_factor, high_freq_factor,
// original_max_position_embeddings}), "yarn" (rope_scaling.{factor, beta_fast, beta_slow, truncate,
// attention_factor, original_max_position_embeddings}, all but the first and the last optional), or
// divisors from a GGUF's rope_freqs.weight (rope_freq_divisors). Any other rope_type is an error.
Result<RopeAnglesAttributes> rope_angles_from(const Metadata& config, int64_t head_dim);

}  // namespace dunlin
