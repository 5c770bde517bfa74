// What GPT-OSS records: experts, sinks and windows, and a hash that changes with every part of the
// configuration that changes results; configurations that no model can have.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <stdexcept>

#include "models/registry.h"
#include "tiny_config.h"

namespace dunlin {
namespace {

Metadata tiny_mixture() {
  Metadata config = tiny_config("gpt_oss");
  config.set("head_dim", int64_t{24});
  config.set("num_local_experts", int64_t{6});
  config.set("num_experts_per_tok", int64_t{4});
  config.set("sliding_window", int64_t{8});
  config.set("rope_scaling.rope_type", std::string("yarn"));
  config.set("rope_scaling.factor", 32.0);
  config.set("rope_scaling.truncate", false);
  config.set("rope_scaling.original_max_position_embeddings", int64_t{4096});
  return config;
}

Program record_ok(const Metadata& config, const RecordOptions& options = {}) {
  auto program = record_model(config, options);
  if (!program.ok()) throw std::runtime_error(program.error().message);
  EXPECT_TRUE(verify(*program).ok());
  return std::move(program).value();
}

void expect_error(const Metadata& config, const std::string& part) {
  const auto program = record_model(config, {});
  ASSERT_FALSE(program.ok()) << part;
  EXPECT_EQ(program.error().kind, ErrorKind::model) << program.error().message;
  EXPECT_NE(program.error().message.find("some/config.json"), std::string::npos)
      << program.error().message;
  EXPECT_NE(program.error().message.find(part), std::string::npos) << program.error().message;
}

std::vector<int64_t> windows_of(const Program& program) {
  std::vector<int64_t> windows;
  for (const Node& node : program.nodes) {
    if (node.op == Op::attention)
      windows.push_back(std::get<AttentionAttributes>(node.attributes).window);
  }
  return windows;
}

TEST(GptOss, WindowsAreInEveryOtherLayer) {
  const Program program = record_ok(tiny_mixture());
  EXPECT_EQ(windows_of(program), (std::vector<int64_t>{8, 0, 8}));
  ASSERT_EQ(program.kv_groups.size(), 2u);
  EXPECT_EQ(program.kv_groups[0].window, 8);
  EXPECT_EQ(program.kv_groups[0].layers, 2);
  EXPECT_EQ(program.kv_groups[1].window, 0);
  EXPECT_EQ(program.kv_groups[1].layers, 1);
}

TEST(GptOss, LayerTypesSayOtherwise) {
  const std::vector<std::string> types = {"full_attention", "sliding_attention", "full_attention"};
  EXPECT_EQ(windows_of(record_ok(with(tiny_mixture(), "layer_types", types))),
            (std::vector<int64_t>{0, 8, 0}));
}

TEST(GptOss, EveryAttentionHasSinksAndNoOtherFrequencies) {
  const Program program = record_ok(tiny_mixture());
  for (const Node& node : program.nodes) {
    if (node.op == Op::attention) {
      EXPECT_EQ(node.operands.size(), 4u);
    }
    if (node.op == Op::rope_angles) {
      const auto& angles = std::get<RopeAnglesAttributes>(node.attributes);
      EXPECT_FLOAT_EQ(angles.scale, 1.3465736f);
      EXPECT_FLOAT_EQ(angles.inv_freq[0], 1.0f);
    }
  }
}

TEST(GptOss, ShapesFollowTheConfiguration) {
  const Program program = record_ok(tiny_mixture());
  const auto shape = [&program](const std::string& name) {
    const auto it = std::ranges::find(program.weights, name, &WeightDeclaration::name);
    EXPECT_NE(it, program.weights.end()) << name;
    return it == program.weights.end() ? Dims() : it->shape();
  };
  const std::string layer = "model.layers.2.";
  EXPECT_EQ(shape(layer + "self_attn.sinks"), (Dims{4}));
  EXPECT_EQ(shape(layer + "self_attn.o_proj.bias"), (Dims{64}));
  EXPECT_EQ(shape(layer + "mlp.router.weight"), (Dims{6, 64}));
  EXPECT_EQ(shape(layer + "mlp.experts.gate_proj.weight"), (Dims{6, 96, 64}));
  EXPECT_EQ(shape(layer + "mlp.experts.down_proj.weight"), (Dims{6, 64, 96}));
  EXPECT_EQ(shape(layer + "mlp.experts.up_proj.bias"), (Dims{6, 96}));
  EXPECT_EQ(shape(layer + "mlp.experts.down_proj.bias"), (Dims{6, 64}));
  EXPECT_EQ(program.weights.size(), 3u + 3 * 19);
}

TEST(GptOss, TheHashKnowsEveryFieldThatMatters) {
  std::set<std::string> hashes = {to_string(content_hash(record_ok(tiny_mixture())))};
  const std::vector<std::string> full(3, "full_attention");
  const std::vector<std::pair<std::string, Metadata::Value>> changes = {
      {"hidden_size", int64_t{128}},
      {"num_hidden_layers", int64_t{2}},
      {"num_attention_heads", int64_t{8}},
      {"num_key_value_heads", int64_t{1}},
      {"head_dim", int64_t{32}},
      {"intermediate_size", int64_t{128}},
      {"vocab_size", int64_t{160}},
      {"rms_norm_eps", 1e-6},
      {"rope_theta", 500000.0},
      {"tie_word_embeddings", true},
      {"num_local_experts", int64_t{8}},
      {"num_experts_per_tok", int64_t{2}},
      {"sliding_window", int64_t{16}},
      {"layer_types", full},
      {"swiglu_alpha", 1.5},
      {"swiglu_limit", 6.0},
      {"rope_scaling.factor", 16.0},
      {"rope_scaling.truncate", true},
      {"rope_scaling.beta_fast", 16.0},
      {"rope_scaling.attention_factor", 1.0},
      {"rope_scaling.original_max_position_embeddings", int64_t{1024}}};
  for (const auto& [key, value] : changes) {
    const Program program = record_ok(with(tiny_mixture(), key, value));
    EXPECT_TRUE(hashes.insert(to_string(content_hash(program))).second) << key;
  }
}

TEST(GptOss, TapsAreOutputsWhenAskedFor) {
  std::set<std::string> wanted = {"logits", "final_norm", "hidden.3"};
  for (const char* name : {"hidden", "norm1", "norm2", "q", "k", "v", "attn_out", "router_idx",
                           "router_w", "mlp_out"}) {
    for (int layer = 0; layer < 3; ++layer)
      wanted.insert(std::string(name).append(".").append(std::to_string(layer)));
  }
  const Program program = record_ok(tiny_mixture(), {.taps = {"*"}});
  std::set<std::string> names;
  for (const Output& output : program.outputs) names.insert(output.name);
  EXPECT_EQ(names, wanted);
}

TEST(GptOss, TheLayersOptionTruncates) {
  EXPECT_EQ(windows_of(record_ok(tiny_mixture(), {.layers = 1})), (std::vector<int64_t>{8}));
  EXPECT_EQ(windows_of(record_ok(tiny_mixture(), {.layers = 50})).size(), 3u);
}

TEST(GptOss, WhatIsNotSupported) {
  const std::vector<std::string> two(2, "full_attention");
  const std::vector<std::string> other = {"full_attention", "chunked_attention", "full_attention"};
  expect_error(with(tiny_mixture(), "layer_types", two), "layer_types is not a list of 3 names");
  expect_error(with(tiny_mixture(), "layer_types", int64_t{1}), "layer_types");
  expect_error(with(tiny_mixture(), "layer_types", other), "layer_types[1] \"chunked_attention\"");
  expect_error(with(tiny_mixture(), "num_experts_per_tok", int64_t{7}),
               "num_experts_per_tok 7 is more than num_local_experts 6");
  // Every row of a step has memory for its choices in every layer.
  expect_error(with(tiny_mixture(), "num_experts_per_tok", int64_t{257}), "num_experts_per_tok");
  expect_error(with(tiny_mixture(), "num_local_experts", int64_t{0}), "num_local_experts");
  expect_error(with(tiny_mixture(), "sliding_window", int64_t{0}), "sliding_window");
  expect_error(with(tiny_mixture(), "attention_bias", false), "attention_bias");
  expect_error(with(tiny_mixture(), "num_key_value_heads", int64_t{3}), "num_key_value_heads");
  expect_error(with(tiny_mixture(), "head_dim", int64_t{15}), "head_dim");
  expect_error(with(tiny_mixture(), "swiglu_limit", 0.0), "swiglu_limit");
  // Each size alone is allowed.
  Metadata large = with(tiny_mixture(), "num_local_experts", int64_t{1} << 16);
  large = with(with(large, "intermediate_size", int64_t{1} << 22), "hidden_size", int64_t{1} << 20);
  expect_error(large, "65536 experts (num_local_experts) of 4194304 x 1048576");
  for (const char* key : {"hidden_size", "num_hidden_layers", "num_attention_heads",
                          "intermediate_size", "vocab_size", "num_experts_per_tok"}) {
    expect_error(with(tiny_mixture(), key, int64_t{-1}), key);
    expect_error(with(tiny_mixture(), key, std::string("8")), key);
  }
}

}  // namespace
}  // namespace dunlin
