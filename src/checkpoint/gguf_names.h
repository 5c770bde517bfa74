// Names and shapes of the weights of every family, in Hugging Face's (canonical) and GGUF's
// spelling. A mixture's experts are stacks of separate gate, up and down projections; what the
// containers hold instead is in weight_parts.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/metadata.h"
#include "base/result.h"
#include "checkpoint/families.h"

namespace dunlin {

// model.layers.3.self_attn.q_proj.weight <-> blk.3.attn_q.weight. Nothing for a name that no model of
// the family has.
std::optional<std::string> canonical_tensor_name(const StoredFamily& family,
                                                 std::string_view gguf_name);
std::optional<std::string> gguf_tensor_name(const StoredFamily& family,
                                            std::string_view canonical_name);
bool is_canonical_tensor_name(const StoredFamily& family, std::string_view name);

// "12.rest" becomes "12"; empty unless it is a number of up to five digits without leading zeros.
std::string_view layer_digits(std::string_view text);

// Stored tensors that carry nothing a model needs: rotary_emb.inv_freq of old files, and
// rope_freqs.weight, which becomes the configuration's rope_freq_divisors.
bool is_ignored_tensor(std::string_view name);

// The canonical names of the weights of a model with so many layers, with biases only where every
// projection has one, in a mixture. A tied model has no lm_head.weight.
std::vector<std::string> weight_names(const StoredFamily& family, int64_t layers, bool tied);

// The shape, outermost first, that a canonical configuration gives a weight with a canonical name of
// the family.
Result<std::vector<int64_t>> canonical_shape(const StoredFamily& family,
                                             std::string_view canonical_name,
                                             const Metadata& config);

// Weights and biases of the query and key projections: their rows are permuted in GGUF files of
// architecture llama.
bool is_query_or_key(std::string_view canonical_name);

}  // namespace dunlin
