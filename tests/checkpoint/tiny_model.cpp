// A model of one layer in both containers.
#include "tiny_model.h"

#include <fmt/format.h>

#include "checkpoint/gguf_names.h"

namespace dunlin {
namespace {

constexpr const char* kFirstLayer = "model.layers.0.";

// W_gguf[h*D + j] = W_hf[h*D + (j mod 2)*(D/2) + j div 2]: how converters write query and key of
// architecture llama.
std::vector<float> permuted(const TinyTensor& tensor) {
  const size_t width = tensor.shape.size() == 2 ? static_cast<size_t>(tensor.shape[1]) : 1;
  std::vector<float> values;
  for (int64_t row = 0; row < tensor.shape[0]; ++row) {
    const int64_t j = row % kHeadDim;
    const int64_t from = row - j + (j % 2) * (kHeadDim / 2) + j / 2;
    const float* begin = tensor.values.data() + static_cast<size_t>(from) * width;
    values.insert(values.end(), begin, begin + width);
  }
  return values;
}

}  // namespace

std::map<std::string, TinyTensor> tiny_tensors(bool biases, bool tied) {
  const int64_t query = kHeads * kHeadDim;
  std::map<std::string, TinyTensor> tensors;
  float next = 1.0f;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    int64_t count = 1;
    for (const int64_t extent : shape) count *= extent;
    TinyTensor tensor{std::move(shape), {}};
    for (int64_t i = 0; i < count; ++i) tensor.values.push_back(next++);
    tensors[name] = std::move(tensor);
  };
  const std::string layer = kFirstLayer;
  add("model.embed_tokens.weight", {kVocabulary, kHidden});
  add("model.norm.weight", {kHidden});
  if (!tied) add("lm_head.weight", {kVocabulary, kHidden});
  add(layer + "input_layernorm.weight", {kHidden});
  add(layer + "post_attention_layernorm.weight", {kHidden});
  add(layer + "self_attn.q_proj.weight", {query, kHidden});
  add(layer + "self_attn.k_proj.weight", {kHeadDim, kHidden});
  add(layer + "self_attn.v_proj.weight", {kHeadDim, kHidden});
  add(layer + "self_attn.o_proj.weight", {kHidden, query});
  add(layer + "mlp.gate_proj.weight", {kIntermediate, kHidden});
  add(layer + "mlp.up_proj.weight", {kIntermediate, kHidden});
  add(layer + "mlp.down_proj.weight", {kHidden, kIntermediate});
  if (biases) {
    add(layer + "self_attn.q_proj.bias", {query});
    add(layer + "self_attn.k_proj.bias", {kHeadDim});
    add(layer + "self_attn.v_proj.bias", {kHeadDim});
    add(layer + "self_attn.o_proj.bias", {kHidden});
  }
  return tensors;
}

GgufBuilder tiny_gguf(const std::string& architecture, bool biases, bool tied) {
  GgufBuilder builder;
  const StoredFamily& family = *gguf_family("tiny", architecture).value();
  const std::string prefix = architecture + ".";
  builder.text("general.architecture", architecture)
      .u32(prefix + "block_count", 1)
      .u32(prefix + "context_length", 128)
      .u32(prefix + "embedding_length", kHidden)
      .u32(prefix + "feed_forward_length", kIntermediate)
      .u32(prefix + "attention.head_count", kHeads)
      .u32(prefix + "attention.head_count_kv", 1)
      .u32(prefix + "attention.key_length", kHeadDim)
      .u32(prefix + "rope.dimension_count", kHeadDim)
      .f32(prefix + "attention.layer_norm_rms_epsilon", 0.25f)
      .f32(prefix + "rope.freq_base", 500000.0f)
      .u32(prefix + "vocab_size", kVocabulary);
  for (const auto& [name, tensor] : tiny_tensors(biases, tied)) {
    GgufTensor stored{*gguf_tensor_name(family, name), {}, 0, {}};
    stored.extents.assign(tensor.shape.rbegin(), tensor.shape.rend());
    const bool permute = architecture == "llama" && is_query_or_key(name);
    stored.data = raw_floats(permute ? permuted(tensor) : tensor.values);
    builder.tensors.push_back(std::move(stored));
  }
  return builder;
}

std::string tiny_config(const std::string& model_type, bool biases, bool tied) {
  return fmt::format(
      R"({{"model_type": "{}", "architectures": ["{}ForCausalLM"], "hidden_size": {},
 "intermediate_size": {},
 "num_hidden_layers": 1, "num_attention_heads": {},
 "num_key_value_heads": 1, "head_dim": {}, "vocab_size": {},
 "max_position_embeddings": 128, "rms_norm_eps": 0.25, "rope_theta": 500000.0, "hidden_act": "silu",
 "attention_bias": {}, "tie_word_embeddings": {}, "eos_token_id": 2, "bos_token_id": 1}})",
      model_type, model_type == "llama" ? "Llama" : "Qwen2", kHidden, kIntermediate, kHeads,
      kHeadDim, kVocabulary, biases, tied);
}

std::string safetensors_file(const std::string& header, const std::string& data) {
  return raw<uint64_t>(header.size()) + header + data;
}

std::string safetensors_file(const std::map<std::string, TinyTensor>& tensors) {
  std::string header = "{\"__metadata__\": {\"format\": \"pt\"}";
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    const size_t begin = data.size();
    data += raw_floats(tensor.values);
    header += fmt::format(R"(, "{}": {{"dtype": "F32", "shape": [{}], "data_offsets": [{}, {}]}})",
                          name, fmt::join(tensor.shape, ", "), begin, data.size());
  }
  return safetensors_file(header + "}", data);
}

}  // namespace dunlin
