// Tensor names translate both ways, and nothing else is taken for one.
#include "checkpoint/gguf_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dunlin {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::Not;

const StoredFamily& family(const std::string& model_type) {
  return *stored_family("a test", model_type).value();
}

// Every row of the table in the specification of the models.
const std::pair<const char*, const char*> kNames[] = {
    {"model.embed_tokens.weight", "token_embd.weight"},
    {"model.layers.0.input_layernorm.weight", "blk.0.attn_norm.weight"},
    {"model.layers.1.self_attn.q_proj.weight", "blk.1.attn_q.weight"},
    {"model.layers.1.self_attn.q_proj.bias", "blk.1.attn_q.bias"},
    {"model.layers.12.self_attn.k_proj.weight", "blk.12.attn_k.weight"},
    {"model.layers.12.self_attn.k_proj.bias", "blk.12.attn_k.bias"},
    {"model.layers.12.self_attn.v_proj.weight", "blk.12.attn_v.weight"},
    {"model.layers.12.self_attn.v_proj.bias", "blk.12.attn_v.bias"},
    {"model.layers.125.self_attn.o_proj.weight", "blk.125.attn_output.weight"},
    {"model.layers.125.post_attention_layernorm.weight", "blk.125.ffn_norm.weight"},
    {"model.layers.3.mlp.gate_proj.weight", "blk.3.ffn_gate.weight"},
    {"model.layers.3.mlp.up_proj.weight", "blk.3.ffn_up.weight"},
    {"model.layers.3.mlp.down_proj.weight", "blk.3.ffn_down.weight"},
    {"model.layers.3.mlp.down_proj.bias", "blk.3.ffn_down.bias"},
    {"model.norm.weight", "output_norm.weight"},
    {"lm_head.weight", "output.weight"},
};

// What a mixture of experts has instead of some of them.
const std::pair<const char*, const char*> kMixtureNames[] = {
    {"model.layers.1.self_attn.sinks", "blk.1.attn_sinks.weight"},
    {"model.layers.1.self_attn.o_proj.bias", "blk.1.attn_output.bias"},
    {"model.layers.2.post_attention_layernorm.weight", "blk.2.post_attention_norm.weight"},
    {"model.layers.2.mlp.router.weight", "blk.2.ffn_gate_inp.weight"},
    {"model.layers.2.mlp.router.bias", "blk.2.ffn_gate_inp.bias"},
    {"model.layers.3.mlp.experts.gate_proj.weight", "blk.3.ffn_gate_exps.weight"},
    {"model.layers.3.mlp.experts.gate_proj.bias", "blk.3.ffn_gate_exps.bias"},
    {"model.layers.3.mlp.experts.up_proj.weight", "blk.3.ffn_up_exps.weight"},
    {"model.layers.3.mlp.experts.down_proj.weight", "blk.3.ffn_down_exps.weight"},
    {"model.layers.3.mlp.experts.down_proj.bias", "blk.3.ffn_down_exps.bias"},
};

void expect_names(const StoredFamily& family, const char* canonical, const char* gguf) {
  EXPECT_EQ(gguf_tensor_name(family, canonical), gguf);
  EXPECT_EQ(canonical_tensor_name(family, gguf), canonical);
  EXPECT_TRUE(is_canonical_tensor_name(family, canonical));
  EXPECT_FALSE(is_canonical_tensor_name(family, gguf));
}

TEST(GgufNames, TranslateBothWays) {
  for (const auto& [canonical, gguf] : kNames) expect_names(family("llama"), canonical, gguf);
  for (const auto& [canonical, gguf] : kMixtureNames)
    expect_names(family("gpt_oss"), canonical, gguf);
}

TEST(GgufNames, BelongToFamilies) {
  for (const auto& [canonical, gguf] : kMixtureNames) {
    if (std::string(canonical).find("self_attn.o_proj") != std::string::npos) continue;
    EXPECT_EQ(canonical_tensor_name(family("qwen2"), gguf), std::nullopt) << gguf;
  }
  for (const char* name : {"blk.0.ffn_norm.weight", "blk.0.ffn_gate.weight", "blk.0.ffn_down.bias"})
    EXPECT_EQ(canonical_tensor_name(family("gpt_oss"), name), std::nullopt) << name;
  for (const char* name :
       {"model.layers.0.self_attn.sinks.weight", "model.layers.0.self_attn.sinks.bias",
        "model.layers.0.self_attn.q_proj", "model.layers.0.mlp.experts"})
    EXPECT_FALSE(is_canonical_tensor_name(family("gpt_oss"), name)) << name;
}

TEST(GgufNames, ListOfAFamily) {
  const std::vector<std::string> mixture = weight_names(family("gpt_oss"), 2, false);
  EXPECT_THAT(mixture, Contains("model.layers.1.self_attn.sinks"));
  EXPECT_THAT(mixture, Contains("model.layers.1.mlp.experts.down_proj.weight"));
  EXPECT_THAT(mixture, Not(Contains("model.layers.1.mlp.down_proj.weight")));
  EXPECT_THAT(mixture, Contains("model.layers.0.mlp.experts.up_proj.bias"));
  EXPECT_THAT(mixture, Not(Contains("model.layers.0.input_layernorm.bias")));
  EXPECT_EQ(mixture.size(), 3u + 2 * 19);
  EXPECT_EQ(weight_names(family("llama"), 2, true).size(), 2u + 2 * 9);
}

TEST(GgufNames, RefuseWhatNoModelReads) {
  for (const char* name : {"",
                           ".",
                           "weight",
                           ".weight",
                           "blk.",
                           "blk.0",
                           "blk..attn_q.weight",
                           "blk.x.attn_q.weight",
                           "blk.00.attn_q.weight",
                           "blk.123456.attn_q.weight",
                           "blk.0.attn_q",
                           "blk.0.attn_q.scale",
                           "blk.0.attn_norm.bias",
                           "output_norm.bias",
                           "token_embd.bias",
                           "blk.-1.attn_q.weight",
                           "blk.0..weight",
                           "blk.0.token_embd.weight",
                           "attn_q.weight",
                           "blk.0.attn_q.weight.weight"}) {
    EXPECT_EQ(canonical_tensor_name(family("llama"), name), std::nullopt) << name;
  }
}

TEST(GgufNames, IgnoredTensors) {
  EXPECT_TRUE(is_ignored_tensor("rope_freqs.weight"));
  EXPECT_TRUE(is_ignored_tensor("model.layers.3.self_attn.rotary_emb.inv_freq"));
  EXPECT_FALSE(is_ignored_tensor("model.layers.3.self_attn.q_norm.weight"));
}

TEST(GgufNames, ShapesFollowTheConfiguration) {
  Metadata config;
  config.set("hidden_size", int64_t{896});
  config.set("intermediate_size", int64_t{4864});
  config.set("num_attention_heads", int64_t{14});
  config.set("num_key_value_heads", int64_t{2});
  config.set("head_dim", int64_t{128});
  config.set("vocab_size", int64_t{1000});
  config.set("num_local_experts", int64_t{32});
  const auto shape = [&](const std::string& name) {
    return *canonical_shape(family("llama"), name, config);
  };
  const auto shape_in_mixture = [&](const std::string& name) {
    return *canonical_shape(family("gpt_oss"), name, config);
  };
  EXPECT_THAT(shape("lm_head.weight"), ElementsAre(1000, 896));
  EXPECT_THAT(shape("model.norm.weight"), ElementsAre(896));
  EXPECT_THAT(shape("model.layers.0.self_attn.q_proj.weight"), ElementsAre(14 * 128, 896));
  EXPECT_THAT(shape("model.layers.0.self_attn.q_proj.bias"), ElementsAre(14 * 128));
  EXPECT_THAT(shape("model.layers.0.self_attn.v_proj.weight"), ElementsAre(256, 896));
  EXPECT_THAT(shape("model.layers.0.self_attn.o_proj.weight"), ElementsAre(896, 14 * 128));
  EXPECT_THAT(shape("model.layers.0.self_attn.o_proj.bias"), ElementsAre(896));
  EXPECT_THAT(shape("model.layers.0.mlp.down_proj.weight"), ElementsAre(896, 4864));
  EXPECT_THAT(shape("model.layers.0.mlp.up_proj.weight"), ElementsAre(4864, 896));
  const std::string experts = "model.layers.0.mlp.experts.";
  EXPECT_THAT(shape_in_mixture("model.layers.0.self_attn.sinks"), ElementsAre(14));
  EXPECT_THAT(shape_in_mixture("model.layers.0.mlp.router.weight"), ElementsAre(32, 896));
  EXPECT_THAT(shape_in_mixture("model.layers.0.mlp.router.bias"), ElementsAre(32));
  EXPECT_THAT(shape_in_mixture(experts + "up_proj.weight"), ElementsAre(32, 4864, 896));
  EXPECT_THAT(shape_in_mixture(experts + "down_proj.weight"), ElementsAre(32, 896, 4864));
  EXPECT_THAT(shape_in_mixture(experts + "gate_proj.bias"), ElementsAre(32, 4864));
  EXPECT_THAT(shape_in_mixture(experts + "down_proj.bias"), ElementsAre(32, 896));
}

TEST(GgufNames, QueryAndKeyAreRecognised) {
  EXPECT_TRUE(is_query_or_key("model.layers.7.self_attn.q_proj.bias"));
  EXPECT_TRUE(is_query_or_key("model.layers.7.self_attn.k_proj.weight"));
  EXPECT_FALSE(is_query_or_key("model.layers.7.self_attn.v_proj.weight"));
  EXPECT_FALSE(is_query_or_key("lm_head.weight"));
}

}  // namespace
}  // namespace dunlin
