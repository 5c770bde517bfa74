// Mixtures of experts in GGUF files of llama.cpp.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tiny_mixture.h"

namespace dunlin {
namespace {

GgufBuilder merged_gguf() {
  GgufBuilder builder = mixture_gguf_header();
  add_tensor(builder, "blk.0.ffn_gate_up_exps.weight", counted({kExperts, 2 * kFfn, kWidth}, 5));
  add_tensor(builder, "blk.0.ffn_gate_up_exps.bias", counted({kExperts, 2 * kFfn}, 70));
  return builder;
}

TEST(MixtureGguf, GateAndUpInOneTensorAreHalves) {
  const auto checkpoint = open_gguf_bytes(merged_gguf().build());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  const auto gate = weight_values(**checkpoint, kStacks + "gate_proj.weight");
  const auto up = weight_values(**checkpoint, kStacks + "up_proj.weight");
  const auto bias = weight_values(**checkpoint, kStacks + "up_proj.bias");
  for (int64_t e = 0; e < kExperts; ++e) {
    for (int64_t i = 0; i < kFfn * kWidth; ++i) {
      const auto at = static_cast<size_t>(e * kFfn * kWidth + i);
      ASSERT_EQ(gate[at], element(5, 2 * e * kFfn * kWidth + i));
      ASSERT_EQ(up[at], element(5, (2 * e + 1) * kFfn * kWidth + i));
    }
    EXPECT_EQ(bias[static_cast<size_t>(e * kFfn)], element(70, (2 * e + 1) * kFfn));
  }
}

TEST(MixtureGguf, KeysBecomeTheConfiguration) {
  const auto checkpoint = open_gguf_bytes(merged_gguf().build());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  const Metadata& config = (*checkpoint)->config();
  EXPECT_EQ(*config.text("model_type"), "gpt_oss");
  EXPECT_EQ(*config.integer("intermediate_size", 0, 100), kFfn);
  EXPECT_EQ(*config.integer("num_local_experts", 0, 100), kExperts);
  EXPECT_EQ(*config.integer("num_experts_per_tok", 0, 100), 2);
  EXPECT_EQ(*config.integer("sliding_window", 0, 100), 4);
  EXPECT_EQ(*config.text("rope_scaling.rope_type"), "yarn");
  EXPECT_EQ(*config.number("rope_scaling.factor", 1, 100), 16.0);
  EXPECT_EQ(*config.integer("rope_scaling.original_max_position_embeddings", 1, 100), 64);
  EXPECT_FALSE(*config.boolean("rope_scaling.truncate"));
}

TEST(MixtureGguf, MissingTensorsHaveTheirStoredNames) {
  GgufBuilder merged = merged_gguf();
  std::erase_if(merged.tensors,
                [](const GgufTensor& each) { return each.name.ends_with("exps.weight"); });
  const auto expect = [](const GgufBuilder& builder, const std::string& weight,
                         const std::string& stored) {
    expect_missing(open_gguf_bytes(builder.build()), weight, stored + " (" + weight + ")");
  };
  const std::string up = kStacks + "up_proj.weight";
  expect(merged, up, "blk.0.ffn_gate_up_exps.weight");
  expect(mixture_gguf_header(), up, "blk.0.ffn_up_exps.weight");
  expect(mixture_gguf_header(), kStacks + "down_proj.bias", "blk.0.ffn_down_exps.bias");
}

TEST(MixtureGguf, AFactorWithoutATypeIsYarns) {
  const GgufBuilder builder = merged_gguf().without("gpt-oss.rope.scaling.type");
  const auto checkpoint = open_gguf_bytes(builder.build());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  const Metadata& config = (*checkpoint)->config();
  EXPECT_EQ(*config.text("rope_scaling.rope_type"), "yarn");
  EXPECT_EQ(*config.number("rope_scaling.factor", 1, 100), 16.0);
}

TEST(MixtureGguf, TheFactorMayHaveItsOldName) {
  GgufBuilder builder = merged_gguf().without("gpt-oss.rope.scaling.factor");
  builder.f32("gpt-oss.rope.scale_linear", 8.0f);
  const auto checkpoint = open_gguf_bytes(builder.build());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  EXPECT_EQ(*(*checkpoint)->config().number("rope_scaling.factor", 1, 100), 8.0);
}

TEST(MixtureGguf, SaysWhetherYarnIsCut) {
  GgufBuilder builder = merged_gguf();
  builder.set("gpt-oss.rope.scaling.yarn_truncate", kBool, std::string(1, '\1'));
  const auto checkpoint = open_gguf_bytes(builder.build());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  EXPECT_TRUE(*(*checkpoint)->config().boolean("rope_scaling.truncate"));
}

TEST(MixtureGguf, Contradictions) {
  const auto expect = [](const GgufBuilder& builder, const std::string& problem) {
    expect_model_error([&] { return open_gguf_bytes(builder.build()); }, "tiny.gguf", problem);
  };
  for (const char* key : {"expert_count", "expert_used_count", "attention.sliding_window"})
    expect(merged_gguf().without(std::string("gpt-oss.") + key), std::string(key) + " is missing");
  expect(merged_gguf().u32("gpt-oss.expert_count", 2),
         "ffn_gate_up_exps.weight has the shape [3, 64, 64]; the configuration gives [2, 64, 64]");
  GgufBuilder quantised = mixture_gguf_header();
  GgufTensor bias{
      "blk.0.ffn_gate_up_exps.bias", {2 * kFfn, kExperts}, 8, std::string(6 * 34, '\0')};
  quantised.tensors.push_back(bias);
  expect(quantised, "is in Q8_0, which cannot be put in order");
  GgufBuilder dense = merged_gguf();
  add_tensor(dense, "blk.0.ffn_gate.weight", counted({kFfn, kWidth}, 0));
  expect(dense, "blk.0.ffn_gate.weight is not part of a gpt_oss model");
}

}  // namespace
}  // namespace dunlin
