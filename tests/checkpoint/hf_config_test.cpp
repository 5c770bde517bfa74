// config.json of either generation of transformers becomes one configuration; wrong ones name their
// key.
#include "checkpoint/hf_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

#include "base/log.h"
#include "tiny_model.h"

namespace dunlin {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Result<Metadata> read(const json& config,
                      const std::optional<std::string>& generation = std::nullopt) {
  std::optional<ConfigText> second;
  if (generation) second = ConfigText{"generation_config.json", *generation};
  return read_hf_config({"config.json", config.dump()}, second);
}

Metadata read_ok(const json& config, const std::optional<std::string>& generation = std::nullopt) {
  auto result = read(config, generation);
  if (!result.ok()) throw std::runtime_error(result.error().message);
  return std::move(result).value();
}

json good() {
  return json::parse(tiny_config());
}

json with(const std::string& key, const json& value) {
  json config = good();
  config[key] = value;
  return config;
}

json without(const std::string& key) {
  json config = good();
  config.erase(key);
  return config;
}

void expect_config_error(const json& config, const std::string& problem) {
  expect_model_error([&] { return read(config); }, "config.json", problem);
}

void expect_text_error(const std::string& text, const std::string& problem) {
  expect_model_error([&] { return read_hf_config({"config.json", text}, std::nullopt); },
                     "config.json", problem);
}

std::vector<int64_t> eos(const Metadata& config) {
  return std::get<std::vector<int64_t>>(*config.find("eos_token_id"));
}

const json kLlama3 = {{"rope_type", "llama3"},
                      {"factor", 8.0},
                      {"low_freq_factor", 1.0},
                      {"high_freq_factor", 4.0},
                      {"original_max_position_embeddings", 8192}};

TEST(HfConfig, KeysOfTransformers4) {
  json config = with("rope_scaling", kLlama3);
  config["torch_dtype"] = "bfloat16";
  const Metadata metadata = read_ok(config);
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
  json config = without("rope_theta");
  config["dtype"] = "bfloat16";
  config["rope_parameters"] = kLlama3;
  config["rope_parameters"]["rope_theta"] = 500000.0;
  const Metadata metadata = read_ok(config);
  EXPECT_EQ(metadata.values(), read_ok(with("rope_scaling", kLlama3)).values());
}

TEST(HfConfig, RopeParametersWithoutScaling) {
  json config = without("rope_theta");
  config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 1e6}};
  const Metadata metadata = read_ok(config);
  EXPECT_EQ(*metadata.number("rope_theta", 0, 1e7), 1e6);
  EXPECT_EQ(*metadata.text("rope_scaling.rope_type"), "default");
}

TEST(HfConfig, OldNameOfTheScalingType) {
  json scaling = kLlama3;
  scaling.erase("rope_type");
  scaling["type"] = "llama3";
  EXPECT_EQ(*read_ok(with("rope_scaling", scaling)).text("rope_scaling.rope_type"), "llama3");
}

TEST(HfConfig, NullScalingIsNone) {
  EXPECT_EQ(*read_ok(with("rope_scaling", nullptr)).text("rope_scaling.rope_type"), "default");
}

TEST(HfConfig, DefaultsOfMissingKeys) {
  json config = good();
  for (const char* key :
       {"num_key_value_heads", "head_dim", "rms_norm_eps", "rope_theta", "tie_word_embeddings",
        "attention_bias", "hidden_act", "eos_token_id", "bos_token_id", "architectures"}) {
    config.erase(key);
  }
  const Metadata metadata = read_ok(config);
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
  json config = with("head_dim", nullptr);
  config["num_key_value_heads"] = nullptr;
  config["eos_token_id"] = nullptr;
  EXPECT_EQ(*read_ok(config).integer("head_dim", 0, 100), kHidden / kHeads);
}

TEST(HfConfig, EosIsTheUnionOfBothFiles) {
  const Metadata metadata =
      read_ok(with("eos_token_id", {3, 2}), R"({"eos_token_id": [2, 5], "temperature": 0.6})");
  EXPECT_THAT(eos(metadata), ElementsAre(3, 2, 5));
  EXPECT_THAT(eos(read_ok(good(), R"({"eos_token_id": 7})")), ElementsAre(2, 7));
}

TEST(HfConfig, EosOutsideTheVocabularyIsDropped) {
  EXPECT_THAT(eos(read_ok(with("eos_token_id", {2, 151645}))), ElementsAre(2));
}

TEST(HfConfig, GenerationSettings) {
  const Metadata metadata =
      read_ok(good(), R"({"do_sample": true, "temperature": 0.6, "top_p": 0.9, "top_k": 20,
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
  EXPECT_TRUE(read(with("auto_map", {{"AutoModelForCausalLM", "modeling_evil.Evil"}})).ok());
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_THAT(warnings[0], HasSubstr("config.json: auto_map"));
  EXPECT_TRUE(read(with("auto_map", nullptr)).ok());
  EXPECT_EQ(warnings.size(), 1u);
  set_warning_sink([](const std::string&) {});
}

TEST(HfConfig, SlidingWindowThatIsOffIsIgnored) {
  json config = with("sliding_window", 32768);
  config["use_sliding_window"] = false;
  EXPECT_TRUE(read(config).ok());
  config["use_sliding_window"] = true;
  expect_config_error(config, "use_sliding_window");
}

TEST(HfConfigMalformed, RequiredFields) {
  for (const char* key : {"hidden_size", "intermediate_size", "num_hidden_layers",
                          "num_attention_heads", "vocab_size", "max_position_embeddings"}) {
    expect_config_error(without(key), std::string("the key ") + key + " is missing");
    expect_config_error(with(key, nullptr), std::string("the key ") + key + " is missing");
    for (const json& value : {json("8"), json::array(), json::object(), json(true), json(2.5)}) {
      expect_config_error(with(key, value), std::string(key) + " is not an integer");
    }
    for (const json& value : {json(-1), json(0), json(INT64_MAX), json(INT64_MIN)}) {
      expect_config_error(with(key, value), std::string(key) + " is ");
    }
    for (const json& value : {json(1e308), json(UINT64_MAX)})
      expect_config_error(with(key, value), key);
  }
}

TEST(HfConfigMalformed, OptionalNumbers) {
  for (const char* key : {"rms_norm_eps", "rope_theta"}) {
    for (const json& value : {json("1"), json::array({1}), json(true)}) {
      expect_config_error(with(key, value), std::string(key) + " is not a number");
    }
    for (const json& value : {json(-1), json(1e308), json(INT64_MIN)})
      expect_config_error(with(key, value), key);
  }
  for (const json& value : {json("4"), json(0), json(-2), json(1 << 20)})
    expect_config_error(with("head_dim", value), "head_dim");
  expect_config_error(with("head_dim", 5), "odd");
}

TEST(HfConfigMalformed, NumbersThatJsonDoesNotHave) {
  for (const char* number : {"NaN", "Infinity", "-Infinity", "1e400", "0x10", "08"}) {
    expect_text_error(std::string(R"({"model_type": "llama", "hidden_size": )") + number + "}",
                      "not valid JSON");
  }
}

TEST(HfConfigMalformed, Switches) {
  for (const char* key : {"tie_word_embeddings", "attention_bias", "mlp_bias"}) {
    for (const json& value : {json("false"), json(0), json::array()}) {
      expect_config_error(with(key, value), std::string(key) + " is not true or false");
    }
  }
}

TEST(HfConfigMalformed, HeadsDoNotDivideHidden) {
  json config = without("head_dim");
  config["num_attention_heads"] = 3;
  config["num_key_value_heads"] = 3;
  expect_config_error(config, "hidden_size 8 is not a multiple of num_attention_heads 3");
}

TEST(HfConfigMalformed, MoreKeyValueHeadsThanHeads) {
  expect_config_error(with("num_key_value_heads", 4),
                      "2 attention heads are not a multiple of 4 key-value heads");
}

TEST(HfConfigMalformed, UnknownModelType) {
  expect_config_error(with("model_type", "mistral"),
                      "models of type \"mistral\" are not supported; supported: llama, qwen2");
  expect_config_error(with("model_type", "x\n\x1b[31m"), "\"x??[31m\"");
  expect_config_error(with("model_type", 3), "model_type is not a string");
  expect_config_error(without("model_type"), "model_type is missing");
}

TEST(HfConfigMalformed, Architectures) {
  expect_config_error(with("architectures", {"LlamaForSequenceClassification"}),
                      "must name LlamaForCausalLM");
  expect_config_error(with("architectures", {1, nullptr}), "must name LlamaForCausalLM");
  expect_config_error(with("architectures", "LlamaForCausalLM"), "architectures is not a list");
}

TEST(HfConfigMalformed, RopeScaling) {
  for (const char* type : {"linear", "dynamic", "longrope", ""}) {
    expect_config_error(with("rope_scaling", {{"rope_type", type}, {"factor", 4.0}}),
                        "supported: default, llama3, yarn");
  }
  expect_config_error(with("rope_scaling", "llama3"), "rope_scaling is not an object");
  expect_config_error(with("rope_scaling", {{"rope_type", 3}}), "rope_type is not a string");
  expect_config_error(with("rope_parameters", {{"full_attention", {{"rope_type", "default"}}}}),
                      "per kind of layer");
  for (const char* key :
       {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}) {
    json scaling = kLlama3;
    scaling.erase(key);
    expect_config_error(with("rope_scaling", scaling), std::string(key) + " is missing");
    scaling[key] = -1;
    expect_config_error(with("rope_scaling", scaling), std::string(key) + " is -1");
  }
  json scaling = kLlama3;
  scaling["high_freq_factor"] = 1.0;
  expect_config_error(with("rope_scaling", scaling), "is not above low_freq_factor");
}

TEST(HfConfigMalformed, QuantisationIsRefused) {
  expect_config_error(with("quantization_config", {{"quant_method", "awq"}, {"bits", -3}}),
                      "quantization_config.quant_method \"awq\" is not supported");
}

// ---- GPT-OSS ----

json mixture() {
  return {{"model_type", "gpt_oss"},
          {"architectures", json::array({"GptOssForCausalLM"})},
          {"hidden_size", 64},
          {"intermediate_size", 32},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 16},
          {"max_position_embeddings", 512},
          {"vocab_size", 100}};
}

json mixture_with(const std::string& key, const json& value) {
  json config = mixture();
  config[key] = value;
  return config;
}

TEST(HfConfig, DefaultsOfGptOss) {
  const Metadata metadata = read_ok(mixture());
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
    const Metadata null = read_ok(mixture_with(key, nullptr));
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
    for (const json& config : {with(key, value), mixture_with(key, value)}) {
      const Metadata metadata = read_ok(config);
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
  EXPECT_TRUE(*read_ok(mixture_with("rope_scaling", whole)).boolean("rope_scaling.truncate"));
  whole["mscale"] = 2.0;
  whole["mscale_all_dim"] = 1.0;
  EXPECT_NEAR(*read_ok(with("rope_scaling", whole)).number("rope_scaling.attention_factor", 1, 2),
              (0.2 * std::log(4.0) + 1) / (0.1 * std::log(4.0) + 1), 1e-12);
  for (const char* key : {"factor", "original_max_position_embeddings"}) {
    json without_key = scaling;
    without_key.erase(key);
    expect_config_error(with("rope_scaling", without_key), std::string(key) + " is missing");
  }
}

TEST(HfConfig, OneNumberOfExpertsUnderTwoNames) {
  json config = mixture_with("experts_per_token", 2);
  config["num_experts"] = 6;
  const Metadata metadata = read_ok(config);
  EXPECT_EQ(*metadata.integer("num_experts_per_tok", 0, 100), 2);
  EXPECT_EQ(*metadata.integer("num_local_experts", 0, 100), 6);
}

TEST(HfConfig, Mxfp4OfAMixtureIsRead) {
  const json quantisation = {{"quant_method", "mxfp4"}, {"modules_to_not_convert", {"lm_head"}}};
  EXPECT_EQ(*read_ok(mixture_with("quantization_config", quantisation))
                 .text("quantization_config.quant_method"),
            "mxfp4");
  EXPECT_FALSE(read_ok(mixture()).has("quantization_config.quant_method"));
  expect_config_error(with("quantization_config", quantisation), "\"mxfp4\" is for experts");
  for (const json& other :
       {json{{"quant_method", "awq"}}, json{{"bits", 4}}, json("mxfp4"), json(4)})
    expect_config_error(mixture_with("quantization_config", other), "quantization_config");
}

TEST(HfConfigMalformed, LayerTypes) {
  for (const json& types :
       {json("full_attention"), json({1, 2}), json({{{"a", 1}}}), json({"a", "b\n"})})
    expect_config_error(mixture_with("layer_types", types), "layer_types is not a list of names");
}

TEST(HfConfigMalformed, Mixtures) {
  expect_config_error(mixture_with("num_local_experts", 0), "num_local_experts is 0");
  expect_config_error(mixture_with("num_experts_per_tok", -1), "num_experts_per_tok is -1");
  expect_config_error(mixture_with("sliding_window", "128"), "sliding_window");
  expect_config_error(mixture_with("swiglu_limit", -7), "swiglu_limit is -7");
  expect_config_error(mixture_with("attention_bias", "yes"), "attention_bias");
}

TEST(HfConfigMalformed, OtherActivation) {
  expect_config_error(with("hidden_act", "gelu"), "hidden_act \"gelu\"");
}

TEST(HfConfigMalformed, TokenIds) {
  for (const json& ids : {json("2"), json(-1), json(2.5), json({2, "3"}), json({{1}}),
                          json(INT64_MAX), json(UINT64_MAX)}) {
    expect_config_error(with("eos_token_id", ids), "eos_token_id is not a token id");
    expect_config_error(with("bos_token_id", ids), "bos_token_id is not a token id");
  }
}

TEST(HfConfigMalformed, GenerationValues) {
  for (const char* text :
       {R"({"temperature": "hot"})", R"({"temperature": -1})", R"({"top_p": 1.5})",
        R"({"top_k": -5})", R"({"do_sample": 1})", R"({"eos_token_id": {}})", "[]", "", "{"}) {
    expect_model_error([&] { return read(good(), text); }, "generation_config.json", "");
  }
}

TEST(HfConfigMalformed, NotAnObject) {
  for (const char* text :
       {"", " ", "[]", "1", "null", "\"a\"", "{", "{}}", "{\"a\":}", "{'a': 1}"}) {
    expect_text_error(text, "not");
  }
  expect_text_error("{}", "model_type is missing");
}

TEST(HfConfigMalformed, DuplicateKey) {
  expect_text_error(R"({"hidden_size": 8, "hidden_size": 16})",
                    "the key \"hidden_size\" occurs twice");
  expect_text_error(R"({"a": {"b": 1, "b": 2}})", "the key \"b\" occurs twice");
}

TEST(HfConfigMalformed, NotUtf8) {
  expect_text_error("{\"model_type\": \"\xff\"}", "not valid JSON");
}

TEST(HfConfigMalformed, DeepNesting) {
  expect_text_error("{\"a\": " + std::string(10000, '[') + std::string(10000, ']') + "}",
                    "nested deeper than 64");
  std::string objects;
  for (int i = 0; i < 10000; ++i) objects += "{\"a\":";
  expect_text_error(objects, "nested deeper than 64");
}

TEST(HfConfig, BracketsInStringsDoNotCount) {
  EXPECT_TRUE(read(with("note", std::string(1000, '[') + "\\\"" + std::string(1000, '{'))).ok());
}

json dream() {
  json config = with("model_type", "Dream");
  config["architectures"] = {"DreamModel"};
  config["mask_token_id"] = 11;
  config["pad_token_id"] = 2;
  return config;
}

TEST(HfConfigDream, HasItsMaskAndPadding) {
  const Metadata config = read_ok(dream());
  EXPECT_EQ(*config.text("model_type"), "Dream");
  EXPECT_EQ(*config.integer("mask_token_id", 0, 100), 11);
  EXPECT_EQ(*config.integer("pad_token_id", 0, 100), 2);
  EXPECT_TRUE(*config.boolean("diffusion.shift_logits"));
}

// Those of the published DreamConfig.
TEST(HfConfigDream, MissingKeysHaveDefaults) {
  json bare = dream();
  for (const char* key : {"mask_token_id", "pad_token_id", "rms_norm_eps", "rope_theta"})
    bare.erase(key);
  const Metadata config = read_ok(bare);
  EXPECT_EQ(*config.integer("mask_token_id", 0, 1 << 20), 151666);
  EXPECT_EQ(*config.integer("pad_token_id", 0, 1 << 20), 151643);
  EXPECT_EQ(*config.number("rms_norm_eps", 0, 1), 1e-6);
  EXPECT_EQ(*config.number("rope_theta", 1, 1e9), 10000.0);
}

TEST(HfConfigDream, WrongOnesNameTheirKey) {
  json config = dream();
  config["mask_token_id"] = -1;
  expect_config_error(config, "mask_token_id is -1");
  config["mask_token_id"] = "<|mask|>";
  expect_config_error(config, "mask_token_id is not an integer");
  config = dream();
  config["architectures"] = {"Qwen2ForCausalLM"};
  expect_config_error(config, "architectures of model_type Dream must name DreamModel");
}

TEST(HfConfig, OtherFamiliesHaveNoMask) {
  EXPECT_FALSE(read_ok(with("mask_token_id", -1)).has("mask_token_id"));
}

}  // namespace
}  // namespace dunlin
