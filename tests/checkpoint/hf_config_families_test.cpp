// What config.json says of GPT-OSS and of Dream alone.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "hf_config_cases.h"

namespace dunlin {
namespace {

using nlohmann::json;

json gpt_oss_json() {
  return {{"model_type", "gpt_oss"},
          {"architectures", json::array({"GptOssForCausalLM"})},
          {"hidden_size", 64},
          {"intermediate_size", 32},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 16},
          {"max_position_embeddings", 512},
          {"vocab_size", 100}};
}

json gpt_oss_with(const std::string& key, const json& value) {
  json config = gpt_oss_json();
  config[key] = value;
  return config;
}

TEST(HfConfig, DefaultsOfGptOss) {
  const Metadata metadata = config_of(gpt_oss_json());
  EXPECT_EQ(*metadata.integer("num_key_value_heads", 0, 100), 8);
  EXPECT_EQ(*metadata.integer("head_dim", 0, 100), 64);
  EXPECT_EQ(*metadata.number("rms_norm_eps", 0, 1), 1e-5);
  EXPECT_EQ(*metadata.number("rope_theta", 0, 1e6), 150000.0);
  EXPECT_EQ(*metadata.integer("num_local_experts", 0, 1000), 128);
  EXPECT_EQ(*metadata.integer("num_experts_per_tok", 0, 1000), 4);
  EXPECT_EQ(*metadata.integer("sliding_window", 0, 1000), 128);
  EXPECT_TRUE(*metadata.boolean("attention_bias"));
  EXPECT_FALSE(metadata.has("layer_types"));
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const Metadata null = config_of(gpt_oss_with(key, nullptr));
    EXPECT_EQ(*null.text("rope_scaling.rope_type"), "yarn");
    EXPECT_EQ(*null.number("rope_scaling.factor", 1, 100), 32.0);
    EXPECT_EQ(*null.integer("rope_scaling.original_max_position_embeddings", 1, 8192), 4096);
    EXPECT_FALSE(*null.boolean("rope_scaling.truncate"));
  }
}

TEST(HfConfig, YarnOfBothTransformers) {
  const json scaling = {{"rope_type", "yarn"},
                        {"factor", 4.0},
                        {"beta_fast", 16.0},
                        {"truncate", false},
                        {"original_max_position_embeddings", 64}};
  json modern = scaling;
  modern["rope_theta"] = 5000.0;
  for (const auto& [key, value] :
       {std::pair("rope_scaling", scaling), std::pair("rope_parameters", modern)}) {
    for (const json& config : {llama_with(key, value), gpt_oss_with(key, value)}) {
      const Metadata metadata = config_of(config);
      EXPECT_EQ(*metadata.text("rope_scaling.rope_type"), "yarn");
      EXPECT_EQ(*metadata.number("rope_scaling.factor", 1, 100), 4.0);
      EXPECT_EQ(*metadata.number("rope_scaling.beta_fast", 1, 100), 16.0);
      EXPECT_EQ(*metadata.number("rope_scaling.beta_slow", 1, 100), 1.0);
      EXPECT_FALSE(*metadata.boolean("rope_scaling.truncate"));
      EXPECT_FALSE(metadata.has("rope_scaling.attention_factor"));
      EXPECT_EQ(*metadata.integer("rope_scaling.original_max_position_embeddings", 1, 100), 64);
    }
  }
  json whole = scaling;
  whole.erase("truncate");
  EXPECT_TRUE(*config_of(gpt_oss_with("rope_scaling", whole)).boolean("rope_scaling.truncate"));
  whole["mscale"] = 2.0;
  whole["mscale_all_dim"] = 1.0;
  EXPECT_NEAR(
      *config_of(llama_with("rope_scaling", whole)).number("rope_scaling.attention_factor", 1, 2),
      (0.2 * std::log(4.0) + 1) / (0.1 * std::log(4.0) + 1), 1e-12);
  for (const char* key : {"factor", "original_max_position_embeddings"}) {
    json without_key = scaling;
    without_key.erase(key);
    expect_config_error(llama_with("rope_scaling", without_key), std::string(key) + " is missing");
  }
}

TEST(HfConfig, OneNumberOfExpertsUnderTwoNames) {
  json config = gpt_oss_with("experts_per_token", 2);
  config["num_experts"] = 6;
  const Metadata metadata = config_of(config);
  EXPECT_EQ(*metadata.integer("num_experts_per_tok", 0, 100), 2);
  EXPECT_EQ(*metadata.integer("num_local_experts", 0, 100), 6);
}

TEST(HfConfig, Mxfp4OfAMixtureIsRead) {
  const json quantisation = {{"quant_method", "mxfp4"}, {"modules_to_not_convert", {"lm_head"}}};
  EXPECT_EQ(*config_of(gpt_oss_with("quantization_config", quantisation))
                 .text("quantization_config.quant_method"),
            "mxfp4");
  EXPECT_FALSE(config_of(gpt_oss_json()).has("quantization_config.quant_method"));
  expect_config_error(llama_with("quantization_config", quantisation), "\"mxfp4\" is for experts");
  for (const json& other :
       {json{{"quant_method", "awq"}}, json{{"bits", 4}}, json("mxfp4"), json(4)})
    expect_config_error(gpt_oss_with("quantization_config", other), "quantization_config");
}

TEST(HfConfigMalformed, LayerTypes) {
  for (const json& types :
       {json("full_attention"), json({1, 2}), json({{{"a", 1}}}), json({"a", "b\n"})})
    expect_config_error(gpt_oss_with("layer_types", types), "layer_types is not a list of names");
}

TEST(HfConfigMalformed, Mixtures) {
  expect_config_error(gpt_oss_with("num_local_experts", 0), "num_local_experts is 0");
  expect_config_error(gpt_oss_with("num_experts_per_tok", -1), "num_experts_per_tok is -1");
  expect_config_error(gpt_oss_with("sliding_window", "128"), "sliding_window");
  expect_config_error(gpt_oss_with("swiglu_limit", -7), "swiglu_limit is -7");
  expect_config_error(gpt_oss_with("attention_bias", "yes"), "attention_bias");
}

json dream_json() {
  json config = llama_with("model_type", "Dream");
  config["architectures"] = {"DreamModel"};
  config["mask_token_id"] = 11;
  config["pad_token_id"] = 2;
  return config;
}

TEST(HfConfigDream, HasItsMaskAndPadding) {
  const Metadata config = config_of(dream_json());
  EXPECT_EQ(*config.text("model_type"), "Dream");
  EXPECT_EQ(*config.integer("mask_token_id", 0, 100), 11);
  EXPECT_EQ(*config.integer("pad_token_id", 0, 100), 2);
  EXPECT_TRUE(*config.boolean("diffusion.shift_logits"));
}

// Those of the published DreamConfig.
TEST(HfConfigDream, MissingKeysHaveDefaults) {
  json bare = dream_json();
  for (const char* key : {"mask_token_id", "pad_token_id", "rms_norm_eps", "rope_theta"})
    bare.erase(key);
  const Metadata config = config_of(bare);
  EXPECT_EQ(*config.integer("mask_token_id", 0, 1 << 20), 151666);
  EXPECT_EQ(*config.integer("pad_token_id", 0, 1 << 20), 151643);
  EXPECT_EQ(*config.number("rms_norm_eps", 0, 1), 1e-6);
  EXPECT_EQ(*config.number("rope_theta", 1, 1e9), 10000.0);
}

TEST(HfConfigDream, WrongOnesNameTheirKey) {
  json config = dream_json();
  config["mask_token_id"] = -1;
  expect_config_error(config, "mask_token_id is -1");
  config["mask_token_id"] = "<|mask|>";
  expect_config_error(config, "mask_token_id is not an integer");
  config = dream_json();
  config["architectures"] = {"Qwen2ForCausalLM"};
  expect_config_error(config, "architectures of model_type Dream must name DreamModel");
}

TEST(HfConfig, OtherFamiliesHaveNoMask) {
  EXPECT_FALSE(config_of(llama_with("mask_token_id", -1)).has("mask_token_id"));
}

}  // namespace
}  // namespace dunlin
