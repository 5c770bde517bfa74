// A wrong config.json or generation_config.json names its key.
#include <gtest/gtest.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "hf_config_cases.h"

namespace dunlin {
namespace {

using nlohmann::json;

TEST(HfConfigMalformed, RequiredFields) {
  for (const char* key : {"hidden_size", "intermediate_size", "num_hidden_layers",
                          "num_attention_heads", "vocab_size", "max_position_embeddings"}) {
    expect_config_error(llama_without(key), std::string("the key ") + key + " is missing");
    expect_config_error(llama_with(key, nullptr), std::string("the key ") + key + " is missing");
    for (const json& value : {json("8"), json::array(), json::object(), json(true), json(2.5)}) {
      expect_config_error(llama_with(key, value), std::string(key) + " is not an integer");
    }
    for (const json& value : {json(-1), json(0), json(INT64_MAX), json(INT64_MIN)}) {
      expect_config_error(llama_with(key, value), std::string(key) + " is ");
    }
    for (const json& value : {json(1e308), json(UINT64_MAX)})
      expect_config_error(llama_with(key, value), key);
  }
}

TEST(HfConfigMalformed, OptionalNumbers) {
  for (const char* key : {"rms_norm_eps", "rope_theta"}) {
    for (const json& value : {json("1"), json::array({1}), json(true)}) {
      expect_config_error(llama_with(key, value), std::string(key) + " is not a number");
    }
    for (const json& value : {json(-1), json(1e308), json(INT64_MIN)})
      expect_config_error(llama_with(key, value), key);
  }
  for (const json& value : {json("4"), json(0), json(-2), json(1 << 20)})
    expect_config_error(llama_with("head_dim", value), "head_dim");
  expect_config_error(llama_with("head_dim", 5), "odd");
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
      expect_config_error(llama_with(key, value), std::string(key) + " is not true or false");
    }
  }
}

TEST(HfConfigMalformed, HeadsDoNotDivideHidden) {
  json config = llama_without("head_dim");
  config["num_attention_heads"] = 3;
  config["num_key_value_heads"] = 3;
  expect_config_error(config, "hidden_size 8 is not a multiple of num_attention_heads 3");
}

TEST(HfConfigMalformed, MoreKeyValueHeadsThanHeads) {
  expect_config_error(llama_with("num_key_value_heads", 4),
                      "2 attention heads are not a multiple of 4 key-value heads");
}

TEST(HfConfigMalformed, UnknownModelType) {
  expect_config_error(llama_with("model_type", "mistral"),
                      "models of type \"mistral\" are not supported; supported: llama, qwen2");
  expect_config_error(llama_with("model_type", "x\n\x1b[31m"), "\"x??[31m\"");
  expect_config_error(llama_with("model_type", 3), "model_type is not a string");
  expect_config_error(llama_without("model_type"), "model_type is missing");
}

TEST(HfConfigMalformed, Architectures) {
  expect_config_error(llama_with("architectures", {"LlamaForSequenceClassification"}),
                      "must name LlamaForCausalLM");
  expect_config_error(llama_with("architectures", {1, nullptr}), "must name LlamaForCausalLM");
  expect_config_error(llama_with("architectures", "LlamaForCausalLM"),
                      "architectures is not a list");
}

TEST(HfConfigMalformed, RopeScaling) {
  for (const char* type : {"linear", "dynamic", "longrope", ""}) {
    expect_config_error(llama_with("rope_scaling", {{"rope_type", type}, {"factor", 4.0}}),
                        "supported: default, llama3, yarn");
  }
  expect_config_error(llama_with("rope_scaling", "llama3"), "rope_scaling is not an object");
  expect_config_error(llama_with("rope_scaling", {{"rope_type", 3}}), "rope_type is not a string");
  expect_config_error(
      llama_with("rope_parameters", {{"full_attention", {{"rope_type", "default"}}}}),
      "per kind of layer");
  for (const char* key :
       {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}) {
    json scaling = kLlama3;
    scaling.erase(key);
    expect_config_error(llama_with("rope_scaling", scaling), std::string(key) + " is missing");
    scaling[key] = -1;
    expect_config_error(llama_with("rope_scaling", scaling), std::string(key) + " is -1");
  }
  json scaling = kLlama3;
  scaling["high_freq_factor"] = 1.0;
  expect_config_error(llama_with("rope_scaling", scaling), "is not above low_freq_factor");
}

TEST(HfConfigMalformed, QuantisationIsRefused) {
  expect_config_error(llama_with("quantization_config", {{"quant_method", "awq"}, {"bits", -3}}),
                      "quantization_config.quant_method \"awq\" is not supported");
}

TEST(HfConfigMalformed, OtherActivation) {
  expect_config_error(llama_with("hidden_act", "gelu"), "hidden_act \"gelu\"");
}

TEST(HfConfigMalformed, TokenIds) {
  for (const json& ids : {json("2"), json(-1), json(2.5), json({2, "3"}), json({{1}}),
                          json(INT64_MAX), json(UINT64_MAX)}) {
    expect_config_error(llama_with("eos_token_id", ids), "eos_token_id is not a token id");
    expect_config_error(llama_with("bos_token_id", ids), "bos_token_id is not a token id");
  }
}

TEST(HfConfigMalformed, GenerationValues) {
  for (const char* text :
       {R"({"temperature": "hot"})", R"({"temperature": -1})", R"({"top_p": 1.5})",
        R"({"top_k": -5})", R"({"do_sample": 1})", R"({"eos_token_id": {}})", "[]", "", "{"}) {
    expect_model_error([&] { return read_json_config(llama_json(), text); },
                       "generation_config.json", "");
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

}  // namespace
}  // namespace dunlin
