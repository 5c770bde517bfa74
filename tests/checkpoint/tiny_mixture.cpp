#include "tiny_mixture.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <stdexcept>
#include <utility>

#include "checkpoint/hf_config.h"
#include "checkpoint/safetensors_reader.h"
#include "checkpoint/stored_checkpoint.h"

namespace dunlin {
namespace {

int64_t count_of(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  return count;
}

// All but the experts' matrices.
Tensors common_tensors() {
  const std::string attention = std::string(kLayer) + "self_attn.";
  Tensors tensors;
  tensors["model.embed_tokens.weight"] = counted({kVocabulary, kWidth}, 1);
  tensors["model.norm.weight"] = counted({kWidth}, 2);
  tensors["lm_head.weight"] = counted({kVocabulary, kWidth}, 3);
  for (const char* name : {"input_layernorm", "post_attention_layernorm"})
    tensors[fmt::format("{}{}.weight", kLayer, name)] = counted({kWidth}, 4);
  for (const auto& [name, rows] : {std::pair("q_proj", kHeads * kHeadDim),
                                   std::pair("k_proj", kHeadDim), std::pair("v_proj", kHeadDim)}) {
    tensors[fmt::format("{}{}.weight", attention, name)] = counted({rows, kWidth}, 5);
    tensors[fmt::format("{}{}.bias", attention, name)] = counted({rows}, 6);
  }
  tensors[attention + "o_proj.weight"] = counted({kWidth, kHeads * kHeadDim}, 7);
  tensors[attention + "o_proj.bias"] = counted({kWidth}, 8);
  tensors[attention + "sinks"] = counted({kHeads}, 9);
  tensors[std::string(kLayer) + "mlp.router.weight"] = counted({kExperts, kWidth}, 10);
  tensors[std::string(kLayer) + "mlp.router.bias"] = counted({kExperts}, 11);
  tensors[kStacks + "gate_up_proj_bias"] = counted({kExperts, 2 * kFfn}, 12);
  tensors[kStacks + "down_proj_bias"] = counted({kExperts, kWidth}, 13);
  return tensors;
}

}  // namespace

Stored counted(std::vector<int64_t> shape, float first) {
  std::vector<float> values;
  for (int64_t i = 0; i < count_of(shape); ++i) values.push_back(first + static_cast<float>(i));
  return {"F32", std::move(shape), raw_floats(values)};
}

float element(float first, int64_t i) {
  return first + static_cast<float>(i);
}

Stored counted_bytes(std::vector<int64_t> shape, int first, int modulo) {
  std::string bytes;
  for (int64_t i = 0; i < count_of(shape); ++i)
    bytes.push_back(static_cast<char>(first + static_cast<int>((i * 37 + i / 11) % modulo)));
  return {"U8", std::move(shape), bytes};
}

Tensors plain_tensors() {
  Tensors tensors = common_tensors();
  tensors[kStacks + "gate_up_proj"] = counted({kExperts, kWidth, 2 * kFfn}, 100);
  tensors[kStacks + "down_proj"] = counted({kExperts, kFfn, kWidth}, 20000);
  return tensors;
}

Tensors mxfp4_tensors() {
  Tensors tensors = common_tensors();
  tensors[kStacks + "gate_up_proj_blocks"] =
      counted_bytes({kExperts, 2 * kFfn, kWidth / 32, 16}, 0, 251);
  tensors[kStacks + "gate_up_proj_scales"] =
      counted_bytes({kExperts, 2 * kFfn, kWidth / 32}, 120, 7);
  tensors[kStacks + "down_proj_blocks"] = counted_bytes({kExperts, kWidth, kFfn / 32, 16}, 3, 241);
  tensors[kStacks + "down_proj_scales"] = counted_bytes({kExperts, kWidth, kFfn / 32}, 119, 9);
  return tensors;
}

std::string mixture_config() {
  return fmt::format(
      R"({{"model_type": "gpt_oss", "architectures": ["GptOssForCausalLM"], "hidden_size": {},
 "intermediate_size": {}, "num_hidden_layers": 1, "num_attention_heads": {},
 "num_key_value_heads": 1, "head_dim": {}, "vocab_size": {}, "num_local_experts": {},
 "num_experts_per_tok": 2, "sliding_window": 4, "max_position_embeddings": 128,
 "quantization_config": {{"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}}}})",
      kWidth, kFfn, kHeads, kHeadDim, kVocabulary, kExperts);
}

std::string file_of(const Tensors& tensors) {
  std::string header = "{";
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    header +=
        fmt::format(R"({}"{}": {{"dtype": "{}", "shape": [{}], "data_offsets": [{}, {}]}})",
                    header.size() == 1 ? "" : ", ", name, tensor.dtype,
                    fmt::join(tensor.shape, ", "), data.size(), data.size() + tensor.bytes.size());
    data += tensor.bytes;
  }
  return safetensors_file(header + "}", data);
}

Result<std::unique_ptr<Checkpoint>> open_mixture(const std::shared_ptr<const ByteSource>& source,
                                                 const std::string& config_text) {
  DUNLIN_ASSIGN_OR_RETURN(Metadata config,
                          read_hf_config({"config.json", config_text}, std::nullopt));
  DUNLIN_ASSIGN_OR_RETURN(auto infos, read_safetensors_header(*source));
  const size_t count = infos.size();
  return make_checkpoint({"model",
                          "safetensors",
                          std::move(config),
                          Metadata("model"),
                          std::move(infos),
                          {count, source}});
}

Result<std::unique_ptr<Checkpoint>> open_mixture(const Tensors& tensors,
                                                 const std::string& config_text) {
  return open_mixture(source_of(file_of(tensors), "model.safetensors"), config_text);
}

std::unique_ptr<Checkpoint> opened_mixture(const Tensors& tensors) {
  auto opened = open_mixture(tensors);
  if (!opened.ok()) throw std::runtime_error(opened.error().message);
  return std::move(opened).value();
}

Tensors original_tensors(Tensors tensors) {
  const std::string attention = std::string(kLayer) + "self_attn.";
  const std::pair<std::string, std::string> names[] = {
      {"model.embed_tokens.weight", "embedding.weight"},
      {"model.norm.weight", "norm.scale"},
      {"lm_head.weight", "unembedding.weight"},
      {std::string(kLayer) + "input_layernorm.weight", "block.0.attn.norm.scale"},
      {std::string(kLayer) + "post_attention_layernorm.weight", "block.0.mlp.norm.scale"},
      {attention + "sinks", "block.0.attn.sinks"},
      {attention + "o_proj.weight", "block.0.attn.out.weight"},
      {attention + "o_proj.bias", "block.0.attn.out.bias"},
      {std::string(kLayer) + "mlp.router.weight", "block.0.mlp.gate.weight"},
      {std::string(kLayer) + "mlp.router.bias", "block.0.mlp.gate.bias"},
      {kStacks + "gate_up_proj_bias", "block.0.mlp.mlp1_bias"},
      {kStacks + "down_proj_bias", "block.0.mlp.mlp2_bias"},
      {kStacks + "gate_up_proj_blocks", "block.0.mlp.mlp1_weight.blocks"},
      {kStacks + "gate_up_proj_scales", "block.0.mlp.mlp1_weight.scales"},
      {kStacks + "down_proj_blocks", "block.0.mlp.mlp2_weight.blocks"},
      {kStacks + "down_proj_scales", "block.0.mlp.mlp2_weight.scales"}};
  Tensors renamed;
  for (const auto& [from, to] : names) renamed[to] = tensors.at(from);
  for (const char* kind : {"weight", "bias"}) {
    Stored& all = renamed[std::string("block.0.attn.qkv.") + kind];
    for (const char* name : {"q_proj.", "k_proj.", "v_proj."}) {
      const Stored& part = tensors.at(attention + name + kind);
      if (all.shape.empty()) {
        all = part;
        continue;
      }
      all.shape.front() += part.shape.front();
      all.bytes += part.bytes;
    }
  }
  return renamed;
}

void expect_missing(const Result<std::unique_ptr<Checkpoint>>& checkpoint,
                    const std::string& weight, const std::string& stored) {
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  const auto missing = (*checkpoint)->weight(weight);
  ASSERT_FALSE(missing.ok()) << weight;
  EXPECT_THAT(missing.error().message, testing::HasSubstr("the tensor " + stored + " is missing"));
}

GgufBuilder mixture_gguf_header() {
  GgufBuilder builder;
  const std::string prefix = "gpt-oss.";
  builder.text("general.architecture", "gpt-oss")
      .u32(prefix + "block_count", 1)
      .u32(prefix + "context_length", 128)
      .u32(prefix + "embedding_length", kWidth)
      .u32(prefix + "feed_forward_length", 7)
      .u32(prefix + "expert_feed_forward_length", kFfn)
      .u32(prefix + "expert_count", kExperts)
      .u32(prefix + "expert_used_count", 2)
      .u32(prefix + "attention.head_count", kHeads)
      .u32(prefix + "attention.head_count_kv", 1)
      .u32(prefix + "attention.key_length", kHeadDim)
      .u32(prefix + "attention.sliding_window", 4)
      .f32(prefix + "attention.layer_norm_rms_epsilon", 0.25f)
      .text(prefix + "rope.scaling.type", "yarn")
      .f32(prefix + "rope.scaling.factor", 16.0f)
      .u32(prefix + "rope.scaling.original_context_length", 64)
      .u32(prefix + "vocab_size", kVocabulary);
  return builder;
}

void add_tensor(GgufBuilder& builder, const std::string& name, const Stored& tensor) {
  GgufTensor stored{name, {}, 0, tensor.bytes};
  stored.extents.assign(tensor.shape.rbegin(), tensor.shape.rend());
  builder.tensors.push_back(std::move(stored));
}

}  // namespace dunlin
