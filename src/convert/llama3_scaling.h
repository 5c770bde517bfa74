// Llama 3.1's rope scaling: as config.json says it, and as GGUF's rope_freqs.weight.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace dunlin {

struct Llama3Scaling {
  double factor, low_freq_factor, high_freq_factor;
  int64_t original_max_position_embeddings;
};

// What inverse frequency i < D/2, theta^(-2i/D), is divided by (transformers,
// modeling_rope_utils.py; models/rope_config.cpp), computed in double and rounded once.
std::vector<float> llama3_divisors(double theta, int64_t head_dim, const Llama3Scaling& scaling);

// A scaling with the published frequency factors 1 and 4, and a power of two for the original
// positions, that gives these divisors up to the rounding of other converters (1e-4).
std::optional<Llama3Scaling> find_llama3_scaling(double theta, std::span<const double> divisors);

}  // namespace dunlin
