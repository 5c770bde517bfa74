// Mixtures of experts as OpenAI's original/ folder stores them: the weights of the published directory.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

#include "tiny_mixture.h"

namespace dunlin {
namespace {

std::string original_config() {
  return fmt::format(
      R"({{"num_hidden_layers": 1, "num_experts": {}, "experts_per_token": 2, "vocab_size": {},
 "hidden_size": {}, "intermediate_size": {}, "swiglu_limit": 7.0, "head_dim": {},
 "num_attention_heads": {}, "num_key_value_heads": 1, "sliding_window": 4,
 "initial_context_length": 64, "rope_theta": 150000, "rope_scaling_factor": 32.0,
 "rope_ntk_alpha": 1, "rope_ntk_beta": 32}})",
      kExperts, kVocabulary, kWidth, kFfn, kHeadDim, kHeads);
}

TEST(MixtureOriginal, HasTheWeightsOfThePublishedDirectory) {
  const auto wanted = opened_mixture(mxfp4_tensors());
  auto opened = open_mixture(original_tensors(mxfp4_tensors()), original_config());
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  EXPECT_EQ((*opened)->weights().size(), wanted->weights().size());
  for (const WeightInfo& weight : wanted->weights())
    EXPECT_EQ(weight_values(**opened, weight.name), weight_values(*wanted, weight.name))
        << weight.name;
  const Metadata& config = (*opened)->config();
  EXPECT_EQ(*config.text("rope_scaling.rope_type"), "yarn");
  EXPECT_FALSE(*config.boolean("rope_scaling.truncate"));
  EXPECT_EQ(*config.text("quantization_config.quant_method"), "mxfp4");
  EXPECT_EQ(*config.integer("max_position_embeddings", 1, 1 << 20), 64 * 32);
  EXPECT_EQ(*config.integer("num_local_experts", 1, 100), kExperts);
  EXPECT_EQ(*config.integer("num_experts_per_tok", 1, 100), 2);
}

TEST(MixtureOriginal, Contradictions) {
  Tensors tensors = original_tensors(mxfp4_tensors());
  tensors["block.0.attn.qkv.bias"] = counted({kHeads * kHeadDim}, 1);
  expect_model_error([&] { return open_mixture(tensors, original_config()); }, "model.safetensors",
                     "block.0.attn.qkv.bias has the shape [12]; the configuration gives [24]");
  tensors = original_tensors(mxfp4_tensors());
  tensors.erase("block.0.mlp.mlp1_weight.scales");
  expect_model_error([&] { return open_mixture(tensors, original_config()); }, "model.safetensors",
                     "block.0.mlp.mlp1_weight.scales is missing");
  tensors = original_tensors(mxfp4_tensors());
  Stored& all = tensors["block.0.attn.qkv.weight"];
  all.dtype = "F8_E4M3";
  all.bytes.resize(all.bytes.size() / 4);
  expect_model_error([&] { return open_mixture(tensors, original_config()); }, "model.safetensors",
                     "block.0.attn.qkv.weight holds several weights in F8_E4M3");
}

TEST(MixtureOriginal, MissingTensorsHaveTheirStoredNames) {
  Tensors tensors = original_tensors(mxfp4_tensors());
  for (const char* name : {"mlp.mlp1_weight.blocks", "mlp.mlp1_weight.scales", "attn.qkv.bias"})
    tensors.erase(std::string("block.0.") + name);
  tensors.erase("norm.scale");
  const auto expect = [&](const std::string& weight, const std::string& stored) {
    expect_missing(open_mixture(tensors, original_config()), weight, stored);
  };
  expect(kStacks + "gate_proj.weight", "block.0.mlp.mlp1_weight.blocks");
  expect(std::string(kLayer) + "self_attn.k_proj.bias", "block.0.attn.qkv.bias");
  expect("model.layers.7.mlp.router.bias", "block.7.mlp.gate.bias");
  expect("model.norm.weight", "norm.scale");
}

}  // namespace
}  // namespace dunlin
