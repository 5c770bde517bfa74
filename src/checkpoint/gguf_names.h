// Names and shapes of the tensors of llama and qwen2 models, in Hugging Face's (canonical) and
// GGUF's spelling.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/metadata.h"
#include "base/result.h"

namespace dunlin {

// model.layers.3.self_attn.q_proj.weight <-> blk.3.attn_q.weight. Nothing for a name that no model
// reads.
std::optional<std::string> canonical_tensor_name(std::string_view gguf_name);
std::optional<std::string> gguf_tensor_name(std::string_view canonical_name);
bool is_canonical_tensor_name(std::string_view name);

// Stored tensors that carry nothing a model needs: rotary_emb.inv_freq of old files, and
// rope_freqs.weight, which becomes the configuration's rope_freq_divisors.
bool is_ignored_tensor(std::string_view name);

// The canonical names of the weights, without biases, of a model with so many layers. A tied one has
// no lm_head.weight.
std::vector<std::string> weight_names(int64_t layers, bool tied);

// The shape, outermost first, that a canonical configuration gives a tensor with a canonical name.
Result<std::vector<int64_t>> canonical_shape(std::string_view canonical_name,
                                             const Metadata& config);

// Weights and biases of the query and key projections: their rows are permuted in GGUF files of
// architecture llama.
bool is_query_or_key(std::string_view canonical_name);

}  // namespace dunlin
