// The structure of the GPT-OSS and Dream recordings.
#include "support/blocks.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace dunlin {
namespace {

Program gpt_oss(RecordOptions options = {}) {
  return record("gpt_oss", options, [](Recorder& recorder) { record_gpt_oss(recorder, {}); })
      .value();
}

Program dream(RecordOptions options = {}) {
  return record("dream", options, [](Recorder& recorder) { record_dream(recorder, {}); }).value();
}

template <typename A>
std::vector<A> all(const Program& program) {
  std::vector<A> found;
  for (const Node& node : program.nodes) {
    if (const A* attributes = std::get_if<A>(&node.attributes)) found.push_back(*attributes);
  }
  return found;
}

int64_t count(const Program& program, Op op) {
  return std::count_if(program.nodes.begin(), program.nodes.end(),
                       [op](const Node& node) { return node.op == op; });
}

TEST(GptOssBlock, WindowsAlternateInTwoKvGroups) {
  const Program program = gpt_oss();
  const auto attentions = all<AttentionAttributes>(program);
  ASSERT_EQ(attentions.size(), 2u);
  EXPECT_EQ(attentions[0].window, 5);
  EXPECT_EQ(attentions[1].window, 0);
  EXPECT_TRUE(attentions[0].has_sinks && attentions[1].has_sinks);
  EXPECT_EQ(attentions[0].mask, MaskKind::causal);
  ASSERT_EQ(program.kv_groups.size(), 2u);
  EXPECT_EQ(program.kv_groups[0].window, 5);
  EXPECT_EQ(program.kv_groups[1].window, 0);
}

TEST(GptOssBlock, HasExpertsAsDreamHasNot) {
  EXPECT_TRUE(gpt_oss().has(Op::experts));
  EXPECT_FALSE(dream().has(Op::experts));
  EXPECT_TRUE(dream().has(Op::attention));
}

TEST(GptOssBlock, EveryProjectionHasABias) {
  const Program program = gpt_oss();
  for (const Node& node : program.nodes) {
    if (node.op != Op::linear || node.name == "lm_head") continue;
    EXPECT_EQ(node.operands.size(), 3u) << node.name;
  }
  EXPECT_EQ(count(program, Op::linear), 2 * 4 + 1);
}

TEST(GptOssBlock, ExpertsAreRoutedBeforeTheSoftmaxAndClamped) {
  const Program program = gpt_oss();
  const auto routes = all<RouteAttributes>(program);
  ASSERT_EQ(routes.size(), 2u);
  EXPECT_EQ(routes[0].k, 2);
  EXPECT_FALSE(routes[0].softmax_first);
  const auto gates = all<GatedAttributes>(program);
  ASSERT_EQ(gates.size(), 2u);
  EXPECT_EQ(gates[0].kind, GateKind::oai);
  for (const Node& node : program.nodes) {
    if (node.op != Op::experts) continue;
    EXPECT_EQ(node.operands.size(), 9u);
  }
}

TEST(GptOssBlock, YarnMatchesTheModelsNumbers) {
  GptOssSizes sizes;
  sizes.head_dim = 64;
  const std::vector<float> yarn = yarn_frequencies(sizes);
  const std::vector<float> plain = rope_frequencies(sizes.rope_theta, 64);
  ASSERT_EQ(yarn.size(), 32u);
  // Unscaled up to the correction range's low end 8.09, divided by 32 beyond its high end 17.40.
  for (size_t i = 0; i <= 8; ++i) EXPECT_FLOAT_EQ(yarn[i], plain[i]) << i;
  for (size_t i = 18; i < 32; ++i) EXPECT_FLOAT_EQ(yarn[i], plain[i] / 32.0f) << i;
  // In between: ramp (9 - 8.092779) / (17.398025 - 8.092779) of the way at i = 9.
  const float ramp = 0.0974956f;
  EXPECT_NEAR(yarn[9] / plain[9], ramp / 32.0f + 1.0f - ramp, 1e-6f);
  EXPECT_FLOAT_EQ(yarn_scale(32.0), 1.3465736f);
}

TEST(GptOssBlock, AnglesAreSharedByAllLayers) {
  const Program program = gpt_oss();
  EXPECT_EQ(count(program, Op::rope_angles), 1);
  EXPECT_EQ(count(program, Op::rope), 4);
}

TEST(GptOssBlock, TapsAreTheModuleOutputs) {
  const Program program = gpt_oss({.taps = {"attn_out.*", "q.1"}});
  EXPECT_NE(program.find_output("attn_out.0"), nullptr);
  const Output* q = program.find_output("q.1");
  ASSERT_NE(q, nullptr);
  EXPECT_EQ(to_string(program.type(q->value).dims), "[T,128]");
  EXPECT_EQ(program.find_output("mlp_out.0"), nullptr);
}

TEST(DreamBlock, AttendsEverywhereWithBiasesOnQueriesKeysAndValues) {
  const Program program = dream();
  for (const AttentionAttributes& attention : all<AttentionAttributes>(program)) {
    EXPECT_EQ(attention.mask, MaskKind::full);
    EXPECT_FALSE(attention.has_sinks);
    EXPECT_TRUE(attention.stateful);
  }
  ASSERT_EQ(program.kv_groups.size(), 1u);
  EXPECT_EQ(program.kv_groups[0].layers, 2);
  for (const Node& node : program.nodes) {
    if (node.op != Op::linear) continue;
    const bool biased = node.name.ends_with("q_proj") || node.name.ends_with("k_proj") ||
                        node.name.ends_with("v_proj");
    EXPECT_EQ(node.operands.size(), biased ? 3u : 2u) << node.name;
  }
}

TEST(DreamBlock, WithoutStateThereIsNoKvGroup) {
  EXPECT_TRUE(dream({.stateful = false}).kv_groups.empty());
}

TEST(DreamBlock, FewerLayersOnRequest) {
  EXPECT_EQ(count(dream({.layers = 1}), Op::attention), 1);
}

}  // namespace
}  // namespace dunlin
