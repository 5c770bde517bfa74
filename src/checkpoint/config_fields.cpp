// The rows, in the order in which they are written. The highest values leave room for models ten
// times larger than any known.
#include "checkpoint/config_fields.h"

namespace dunlin {
namespace {

using enum ConfigField::Kind;
using enum ConfigField::Need;

constexpr ConfigField kModelFields[] = {
    {"hidden_size", "embedding_length", integer, 1, 1 << 20, required},
    {"intermediate_size", "feed_forward_length", integer, 1, 1 << 22, required},
    {"num_hidden_layers", "block_count", integer, 1, 4096, required},
    {"num_attention_heads", "attention.head_count", integer, 1, 1 << 14, required},
    {"num_key_value_heads", "attention.head_count_kv", integer, 1, 1 << 14, optional},
    {"head_dim", "attention.key_length", integer, 2, 4096, optional},
    {"vocab_size", "vocab_size", integer, 1, 1 << 24, required},
    {"max_position_embeddings", "context_length", integer, 1, 1 << 30, required},
    {"rms_norm_eps", "attention.layer_norm_rms_epsilon", number, 0, 1, required_in_gguf},
    {"rope_theta", "rope.freq_base", number, 1, 1e12, optional},
    {"num_local_experts", "expert_count", integer, 1, 1 << 16, required_in_gguf,
     &StoredFamily::mixture},
    {"num_experts_per_tok", "expert_used_count", integer, 1, 1 << 8, required_in_gguf,
     &StoredFamily::mixture},
    {"sliding_window", "attention.sliding_window", integer, 1, 1 << 30, required_in_gguf,
     &StoredFamily::windows},
    {"swiglu_alpha", nullptr, number, 1e-3, 1e3, optional, &StoredFamily::mixture},
    {"swiglu_limit", nullptr, number, 1e-3, 1e6, optional, &StoredFamily::mixture},
};

constexpr ConfigField kGenerationFields[] = {
    {"temperature", "temp", number, 0, 1000, optional},
    {"top_p", "top_p", number, 0, 1, optional},
    {"top_k", "top_k", integer, -1, 1 << 30, optional},
    {"min_p", "min_p", number, 0, 1, optional},
    {"repetition_penalty", "penalty_repeat", number, 0.01, 100, optional},
    {"do_sample", nullptr, boolean, 0, 1, optional},
};

}  // namespace

std::span<const ConfigField> model_fields() {
  return kModelFields;
}

std::span<const ConfigField> generation_fields() {
  return kGenerationFields;
}

Result<Metadata::Value> read_field(const Metadata& source, const std::string& name,
                                   const ConfigField& field) {
  if (field.kind == integer) {
    DUNLIN_ASSIGN_OR_RETURN(
        const int64_t value,
        source.integer(name, static_cast<int64_t>(field.low), static_cast<int64_t>(field.high)));
    return Metadata::Value(value);
  }
  if (field.kind == boolean) {
    DUNLIN_ASSIGN_OR_RETURN(const bool value, source.boolean(name));
    return Metadata::Value(value);
  }
  DUNLIN_ASSIGN_OR_RETURN(const double value, source.number(name, field.low, field.high));
  return Metadata::Value(value);
}

}  // namespace dunlin
