// Configurations that no model can have are errors that name the file and the field.
#include <gtest/gtest.h>

#include <limits>

#include "models/registry.h"
#include "tiny_config.h"

namespace dunlin {
namespace {

class Config : public testing::TestWithParam<std::string> {
 protected:
  void expect_error(const std::string& key, Metadata::Value value, const std::string& part) {
    const auto program = record_model(with(tiny_config(GetParam()), key, std::move(value)), {});
    ASSERT_FALSE(program.ok()) << key;
    EXPECT_EQ(program.error().kind, ErrorKind::model) << program.error().message;
    EXPECT_NE(program.error().message.find("some/config.json"), std::string::npos)
        << program.error().message;
    EXPECT_NE(program.error().message.find(part), std::string::npos) << program.error().message;
  }
  void expect_error(const std::string& key, Metadata::Value value) {
    expect_error(key, std::move(value), key);
  }
};

INSTANTIATE_TEST_SUITE_P(All, Config, testing::ValuesIn(dense_families()),
                         [](const auto& info) { return info.param; });

TEST_P(Config, TheTinyOneIsAccepted) {
  EXPECT_TRUE(record_model(tiny_config(GetParam()), {}).ok());
}

TEST_P(Config, RequiredFields) {
  for (const char* key : {"model_type", "hidden_size", "num_hidden_layers", "num_attention_heads",
                          "intermediate_size", "vocab_size"}) {
    Metadata config("some/config.json");
    const Metadata whole = tiny_config(GetParam());
    for (const auto& [name, value] : whole.values()) {
      if (name != key) config.set(name, value);
    }
    const auto program = record_model(config, {});
    ASSERT_FALSE(program.ok()) << key;
    EXPECT_NE(program.error().message.find(key), std::string::npos) << program.error().message;
    expect_error(key, std::vector<double>{1.0});
  }
}

TEST_P(Config, SizesOutOfRange) {
  for (const char* key : {"hidden_size", "num_hidden_layers", "num_attention_heads",
                          "num_key_value_heads", "intermediate_size", "vocab_size", "head_dim"}) {
    for (const int64_t value : {int64_t{0}, int64_t{-1}, std::numeric_limits<int64_t>::max(),
                                std::numeric_limits<int64_t>::min()}) {
      expect_error(key, value);
    }
    expect_error(key, 2.5);
    expect_error(key, std::string("8"));
  }
}

TEST_P(Config, NumbersOutOfRange) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double value : {-1e-6, 2.0, infinity, std::numeric_limits<double>::quiet_NaN()})
    expect_error("rms_norm_eps", value);
  for (const double value : {0.0, -1.0, infinity, std::numeric_limits<double>::quiet_NaN()})
    expect_error("rope_theta", value);
}

TEST_P(Config, SizesThatDisagree) {
  expect_error("num_key_value_heads", int64_t{3});
  expect_error("num_attention_heads", int64_t{6}, "num_attention_heads");  // 64 / 6
  expect_error("head_dim", int64_t{15});
}

TEST_P(Config, WhatIsNotSupported) {
  expect_error("hidden_act", std::string("gelu"));
  expect_error("model_type", std::string("mamba"), "mamba");
  expect_error("model_type", std::string("mamba"), "llama, qwen2");
  expect_error("rope_scaling.rope_type", std::string("longrope"), "longrope");
  expect_error("tie_word_embeddings", std::string("yes"));
}

TEST(LlamaConfig, BiasesMustBeBooleans) {
  for (const char* key : {"attention_bias", "mlp_bias"}) {
    const auto program = record_model(with(tiny_config("llama"), key, int64_t{1}), {});
    ASSERT_FALSE(program.ok()) << key;
    EXPECT_NE(program.error().message.find(key), std::string::npos) << program.error().message;
  }
}

TEST(DreamConfig, NeedsAMaskWithinTheVocabulary) {
  const Metadata config = tiny_config("Dream");
  const auto read = masked_diffusion(config);
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(read->mask_id, 127);
  EXPECT_TRUE(read->shift_logits);
  EXPECT_FALSE(masked_diffusion(with(config, "diffusion.shift_logits", false))->shift_logits);
  for (const Metadata& wrong :
       {with(config, "mask_token_id", int64_t{128}), with(config, "mask_token_id", int64_t{-1})}) {
    const auto program = record_model(wrong, {});
    ASSERT_FALSE(program.ok());
    EXPECT_EQ(program.error().kind, ErrorKind::model);
    EXPECT_NE(program.error().message.find("mask_token_id"), std::string::npos)
        << program.error().message;
  }
}

TEST(DreamConfig, OnlyThisFamilyFillsInMasks) {
  EXPECT_TRUE(diffusion_of(tiny_config("Dream"))->has_value());
  EXPECT_FALSE(diffusion_of(tiny_config("qwen2"))->has_value());
  EXPECT_FALSE(diffusion_of(tiny_config("mamba")).ok());
}

TEST(Qwen2Config, ASlidingWindowIsNotSupported) {
  const Metadata config = tiny_config("qwen2");
  const auto windowed = record_model(with(config, "use_sliding_window", true), {});
  ASSERT_FALSE(windowed.ok());
  EXPECT_NE(windowed.error().message.find("use_sliding_window"), std::string::npos);
  // The size alone, which published configurations carry, means nothing.
  const auto unused = record_model(
      with(with(config, "use_sliding_window", false), "sliding_window", int64_t{16}), {});
  ASSERT_TRUE(unused.ok()) << unused.error().message;
  EXPECT_EQ(content_hash(*unused), content_hash(record_model(config, {}).value()));
}

}  // namespace
}  // namespace dunlin
