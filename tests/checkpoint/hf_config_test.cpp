// config.json of either generation of transformers becomes one configuration.
#include "checkpoint/hf_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <variant>
#include <vector>

#include "base/log.h"
#include "hf_config_cases.h"

namespace dunlin {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<int64_t> eos(const Metadata& config) {
  return std::get<std::vector<int64_t>>(*config.find("eos_token_id"));
}

TEST(HfConfig, KeysOfTransformers4) {
  json config = llama_with("rope_scaling", kLlama3);
  config["torch_dtype"] = "bfloat16";
  const Metadata metadata = config_of(config);
  EXPECT_EQ(*metadata.text("model_type"), "llama");
  EXPECT_EQ(*metadata.integer("hidden_size", 0, 100), kHidden);
  EXPECT_EQ(*metadata.integer("head_dim", 0, 100), kHeadDim);
  EXPECT_EQ(*metadata.integer("num_key_value_heads", 0, 100), 1);
  EXPECT_EQ(*metadata.number("rope_theta", 0, 1e6), 500000.0);
  EXPECT_EQ(*metadata.text("rope_scaling.rope_type"), "llama3");
  EXPECT_EQ(*metadata.number("rope_scaling.factor", 0, 100), 8.0);
  EXPECT_EQ(*metadata.number("rope_scaling.low_freq_factor", 0, 100), 1.0);
  EXPECT_EQ(*metadata.number("rope_scaling.high_freq_factor", 0, 100), 4.0);
  EXPECT_EQ(*metadata.integer("rope_scaling.original_max_position_embeddings", 0, 10000), 8192);
  EXPECT_EQ(*metadata.integer("bos_token_id", 0, 10), 1);
  EXPECT_THAT(eos(metadata), ElementsAre(2));
}

TEST(HfConfig, KeysOfTransformers5) {
  json config = llama_without("rope_theta");
  config["dtype"] = "bfloat16";
  config["rope_parameters"] = kLlama3;
  config["rope_parameters"]["rope_theta"] = 500000.0;
  const Metadata metadata = config_of(config);
  EXPECT_EQ(metadata.values(), config_of(llama_with("rope_scaling", kLlama3)).values());
}

TEST(HfConfig, RopeParametersWithoutScaling) {
  json config = llama_without("rope_theta");
  config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 1e6}};
  const Metadata metadata = config_of(config);
  EXPECT_EQ(*metadata.number("rope_theta", 0, 1e7), 1e6);
  EXPECT_EQ(*metadata.text("rope_scaling.rope_type"), "default");
}

TEST(HfConfig, OldNameOfTheScalingType) {
  json scaling = kLlama3;
  scaling.erase("rope_type");
  scaling["type"] = "llama3";
  EXPECT_EQ(*config_of(llama_with("rope_scaling", scaling)).text("rope_scaling.rope_type"),
            "llama3");
}

TEST(HfConfig, NullScalingIsNone) {
  EXPECT_EQ(*config_of(llama_with("rope_scaling", nullptr)).text("rope_scaling.rope_type"),
            "default");
}

TEST(HfConfig, DefaultsOfMissingKeys) {
  json config = llama_json();
  for (const char* key :
       {"num_key_value_heads", "head_dim", "rms_norm_eps", "rope_theta", "tie_word_embeddings",
        "attention_bias", "hidden_act", "eos_token_id", "bos_token_id", "architectures"}) {
    config.erase(key);
  }
  const Metadata metadata = config_of(config);
  EXPECT_EQ(*metadata.integer("num_key_value_heads", 0, 100), kHeads);
  EXPECT_EQ(*metadata.integer("head_dim", 0, 100), kHidden / kHeads);
  EXPECT_EQ(*metadata.number("rms_norm_eps", 0, 1), 1e-6);
  EXPECT_EQ(*metadata.number("rope_theta", 0, 1e6), 10000.0);
  EXPECT_FALSE(*metadata.boolean("tie_word_embeddings"));
  EXPECT_FALSE(*metadata.boolean("attention_bias"));
  EXPECT_FALSE(*metadata.boolean("mlp_bias"));
  EXPECT_EQ(*metadata.text("hidden_act"), "silu");
  EXPECT_FALSE(metadata.has("bos_token_id"));
  EXPECT_THAT(eos(metadata), IsEmpty());
}

TEST(HfConfig, NullIsMissing) {
  json config = llama_with("head_dim", nullptr);
  config["num_key_value_heads"] = nullptr;
  config["eos_token_id"] = nullptr;
  EXPECT_EQ(*config_of(config).integer("head_dim", 0, 100), kHidden / kHeads);
}

TEST(HfConfig, EosIsTheUnionOfBothFiles) {
  const Metadata metadata = config_of(llama_with("eos_token_id", {3, 2}),
                                      R"({"eos_token_id": [2, 5], "temperature": 0.6})");
  EXPECT_THAT(eos(metadata), ElementsAre(3, 2, 5));
  EXPECT_THAT(eos(config_of(llama_json(), R"({"eos_token_id": 7})")), ElementsAre(2, 7));
}

TEST(HfConfig, EosOutsideTheVocabularyIsDropped) {
  EXPECT_THAT(eos(config_of(llama_with("eos_token_id", {2, 151645}))), ElementsAre(2));
}

TEST(HfConfig, GenerationSettings) {
  const Metadata metadata =
      config_of(llama_json(), R"({"do_sample": true, "temperature": 0.6, "top_p": 0.9, "top_k": 20,
      "min_p": null, "repetition_penalty": 1.1, "transformers_version": "4.45"})");
  EXPECT_TRUE(*metadata.boolean("generation.do_sample"));
  EXPECT_EQ(*metadata.number("generation.temperature", 0, 1), 0.6);
  EXPECT_EQ(*metadata.number("generation.top_p", 0, 1), 0.9);
  EXPECT_EQ(*metadata.integer("generation.top_k", 0, 100), 20);
  EXPECT_EQ(*metadata.number("generation.repetition_penalty", 0, 2), 1.1);
  EXPECT_FALSE(metadata.has("generation.min_p"));
}

TEST(HfConfig, PythonCodeIsIgnoredWithAWarning) {
  std::vector<std::string> warnings;
  set_warning_sink([&warnings](const std::string& message) { warnings.push_back(message); });
  EXPECT_TRUE(
      read_json_config(llama_with("auto_map", {{"AutoModelForCausalLM", "modeling_evil.Evil"}}))
          .ok());
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_THAT(warnings[0], HasSubstr("config.json: auto_map"));
  EXPECT_TRUE(read_json_config(llama_with("auto_map", nullptr)).ok());
  EXPECT_EQ(warnings.size(), 1u);
  set_warning_sink([](const std::string&) {});
}

TEST(HfConfig, SlidingWindowThatIsOffIsIgnored) {
  json config = llama_with("sliding_window", 32768);
  config["use_sliding_window"] = false;
  EXPECT_TRUE(read_json_config(config).ok());
  config["use_sliding_window"] = true;
  expect_config_error(config, "use_sliding_window");
}

TEST(HfConfig, BracketsInStringsDoNotCount) {
  EXPECT_TRUE(
      read_json_config(llama_with("note", std::string(1000, '[') + "\\\"" + std::string(1000, '{')))
          .ok());
}

}  // namespace
}  // namespace dunlin
