// Mixtures of experts in GGUF files of ollama's two converters: names, keys and a type of their own.
#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "tiny_mixture.h"

namespace dunlin {
namespace {

// The keys that its converter writes.
GgufBuilder ollama_header() {
  GgufBuilder builder;
  const std::string prefix = "gptoss.";
  builder.text("general.architecture", "gptoss")
      .u32(prefix + "block_count", 1)
      .u32(prefix + "context_length", 128)
      .u32(prefix + "embedding_length", kWidth)
      .u32(prefix + "feed_forward_length", kFfn)
      .u32(prefix + "expert_count", kExperts)
      .u32(prefix + "expert_used_count", 2)
      .u32(prefix + "attention.head_count", kHeads)
      .u32(prefix + "attention.head_count_kv", 1)
      .u32(prefix + "attention.key_length", kHeadDim)
      .u32(prefix + "attention.value_length", kHeadDim)
      .f32(prefix + "attention.layer_norm_rms_epsilon", 1e-5f)
      .u32(prefix + "attention.sliding_window", 4)
      .f32(prefix + "rope.freq_base", 150000.0f)
      .f32(prefix + "rope.scaling.factor", 32.0f)
      .u32(prefix + "rope.scaling.original_context_length", 64)
      .u32("tokenizer.ggml.eos_token_id", 7)
      .array("tokenizer.ggml.eos_token_ids", kI32, 3,
             raw<int32_t>(7) + raw<int32_t>(9) + raw<int32_t>(11));
  return builder;
}

GgufBuilder ollama_gguf(const Tensors& tensors) {
  GgufBuilder builder = ollama_header();
  const std::string layer = kLayer;
  const std::string attention = layer + "self_attn.";
  const std::pair<std::string, std::string> names[] = {
      {"model.embed_tokens.weight", "token_embd.weight"},
      {"model.norm.weight", "output_norm.weight"},
      {"lm_head.weight", "output.weight"},
      {layer + "input_layernorm.weight", "blk.0.attn_norm.weight"},
      {layer + "post_attention_layernorm.weight", "blk.0.ffn_norm.weight"},
      {attention + "sinks", "blk.0.attn_sinks"},
      {attention + "o_proj.weight", "blk.0.attn_out.weight"},
      {attention + "o_proj.bias", "blk.0.attn_out.bias"},
      {layer + "mlp.router.weight", "blk.0.ffn_gate_inp.weight"},
      {layer + "mlp.router.bias", "blk.0.ffn_gate_inp.bias"},
      {kStacks + "down_proj_bias", "blk.0.ffn_down_exps.bias"}};
  for (const auto& [from, to] : names) add_tensor(builder, to, tensors.at(from));
  return builder;
}

void expect_weights_of_pairs(const GgufBuilder& builder) {
  const auto wanted = opened_mixture(mxfp4_tensors());
  const auto opened = open_gguf_bytes(builder.build());
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  EXPECT_EQ((*opened)->weights().size(), wanted->weights().size());
  for (const WeightInfo& weight : wanted->weights())
    EXPECT_EQ(weight_values(**opened, weight.name), weight_values(*wanted, weight.name))
        << weight.name;
}

// Type 4: an exponent, then the codes as safetensors has them.
std::string blocks_of_type_4(const Tensors& tensors, const std::string& pair) {
  const std::string& codes = tensors.at(pair + "_blocks").bytes;
  std::string bytes;
  for (const char exponent : tensors.at(pair + "_scales").bytes) {
    bytes += exponent;
    bytes += codes.substr(bytes.size() / 17 * 16, 16);
  }
  return bytes;
}

GgufBuilder first_ollama_gguf() {
  const Tensors tensors = mxfp4_tensors();
  const Tensors original = original_tensors(tensors);
  GgufBuilder builder = ollama_gguf(tensors);
  for (const std::string kind : {"weight", "bias"})
    add_tensor(builder, "blk.0.attn_qkv." + kind, original.at("block.0.attn.qkv." + kind));
  builder.tensors.push_back({"blk.0.ffn_gate_up_exps.weight",
                             {kWidth, 2 * kFfn, kExperts},
                             4,
                             blocks_of_type_4(tensors, kStacks + "gate_up_proj")});
  add_tensor(builder, "blk.0.ffn_gate_up_exps.bias", tensors.at(kStacks + "gate_up_proj_bias"));
  builder.tensors.push_back({"blk.0.ffn_down_exps.weight",
                             {kFfn, kWidth, kExperts},
                             4,
                             blocks_of_type_4(tensors, kStacks + "down_proj")});
  return builder;
}

TEST(MixtureOllama, TheFirstConvertersFile) {
  expect_weights_of_pairs(first_ollama_gguf());
}

TEST(MixtureOllama, TheSecondConvertersFile) {
  const Tensors tensors = mxfp4_tensors();
  GgufBuilder builder = ollama_gguf(tensors);
  for (const std::string name : {"q", "k", "v"}) {
    for (const std::string kind : {".weight", ".bias"})
      add_tensor(builder, "blk.0.attn_" + name + kind,
                 tensors.at(std::string(kLayer) + "self_attn." + name + "_proj" + kind));
  }
  const auto pairs = opened_mixture(tensors);
  for (const std::string name : {"gate", "up", "down"}) {
    const WeightView view = pairs->weight(kStacks + name + "_proj.weight").value();
    std::vector<std::byte> blocks(static_cast<size_t>(view.rows * view.bytes_per_row()));
    ASSERT_TRUE(view.read_rows(0, view.rows, blocks).ok());
    builder.tensors.push_back(
        {"blk.0.ffn_" + name + "_exps.weight",
         {static_cast<uint64_t>(view.columns), static_cast<uint64_t>(view.rows / kExperts),
          kExperts},
         39,
         std::string(reinterpret_cast<const char*>(blocks.data()), blocks.size())});
    if (name == "down") continue;
    const std::vector<float> bias = weight_values(*pairs, kStacks + name + "_proj.bias");
    add_tensor(builder, "blk.0.ffn_" + name + "_exps.bias",
               {"F32", {kExperts, kFfn}, raw_floats(bias)});
  }
  expect_weights_of_pairs(builder);
}

TEST(MixtureOllama, KeysBecomeTheConfiguration) {
  const auto checkpoint = open_gguf_bytes(first_ollama_gguf().build());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  const Metadata& config = (*checkpoint)->config();
  EXPECT_EQ(*config.text("model_type"), "gpt_oss");
  EXPECT_EQ(*config.integer("intermediate_size", 0, 100), kFfn);
  EXPECT_EQ(*config.text("rope_scaling.rope_type"), "yarn");
  EXPECT_FALSE(*config.boolean("rope_scaling.truncate"));
  EXPECT_EQ(std::get<std::vector<int64_t>>(*config.find("eos_token_id")),
            (std::vector<int64_t>{7, 9, 11}));
}

TEST(MixtureOllama, MissingTensorsHaveTheirStoredNames) {
  const std::string attention = std::string(kLayer) + "self_attn.";
  const auto expect = [](const GgufBuilder& builder, const std::string& weight,
                         const std::string& stored) {
    expect_missing(open_gguf_bytes(builder.build()), weight, stored + " (" + weight + ")");
  };
  expect(ollama_header().u32("gptoss.vocab_size", kVocabulary), attention + "o_proj.bias",
         "blk.0.attn_out.bias");
  GgufBuilder builder = first_ollama_gguf();
  std::erase_if(builder.tensors,
                [](const GgufTensor& each) { return each.name == "blk.0.attn_qkv.bias"; });
  expect(builder, attention + "v_proj.bias", "blk.0.attn_qkv.bias");
}

TEST(MixtureOllama, Contradictions) {
  const auto expect = [](const GgufBuilder& builder, const std::string& problem) {
    expect_model_error([&] { return open_gguf_bytes(builder.build()); }, "tiny.gguf", problem);
  };
  GgufBuilder twice = first_ollama_gguf();
  add_tensor(twice, "blk.0.attn_output.bias", counted({kWidth}, 0));
  expect(twice, "holds model.layers.0.self_attn.o_proj.bias, and so does blk.0.attn_out.bias");
  expect(first_ollama_gguf().u32("gptoss.expert_count", 2), "the configuration gives [2");
  expect(first_ollama_gguf().text("tokenizer.ggml.eos_token_ids", "7"),
         "tokenizer.ggml.eos_token_ids is not a list of at most 1000 ids");
  // Type 4 and these names belong to ollama's files.
  expect(first_ollama_gguf().text("general.architecture", "gpt-oss"), "the unknown type 4");
  GgufBuilder other = mixture_gguf_header();
  add_tensor(other, "blk.0.attn_sinks", counted({kHeads}, 0));
  expect(other, "blk.0.attn_sinks is not part of a gpt_oss model");
}

}  // namespace
}  // namespace dunlin
