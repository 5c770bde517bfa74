// expand() leaves the Program's interface alone and only basic operations behind.
#include "program/definitions.h"

#include <gtest/gtest.h>

#include <set>

#include "every_operation.h"
#include "program/ops.h"
#include "support/blocks.h"

namespace dunlin {
namespace {

bool keep_none(const Node&) {
  return false;
}

void expect_same_interface(const Program& a, const Program& b) {
  ASSERT_EQ(a.outputs.size(), b.outputs.size());
  for (size_t i = 0; i < a.outputs.size(); ++i) {
    EXPECT_EQ(a.outputs[i].name, b.outputs[i].name);
    EXPECT_EQ(a.type(a.outputs[i].value), b.type(b.outputs[i].value)) << a.outputs[i].name;
  }
  ASSERT_EQ(a.weights.size(), b.weights.size());
  for (size_t i = 0; i < a.weights.size(); ++i) EXPECT_EQ(a.weights[i].name, b.weights[i].name);
  ASSERT_EQ(a.kv_groups.size(), b.kv_groups.size());
  for (size_t i = 0; i < a.kv_groups.size(); ++i) {
    EXPECT_EQ(a.kv_groups[i].window, b.kv_groups[i].window);
    EXPECT_EQ(a.kv_groups[i].layers, b.kv_groups[i].layers);
  }
}

TEST(Definitions, EveryOperationIsThere) {
  std::set<Op> ops;
  const Program program = every_operation();
  for (const Node& node : program.nodes) ops.insert(node.op);
  for (int op = 0; op <= static_cast<int>(Op::state_read); ++op) {
    EXPECT_TRUE(ops.contains(static_cast<Op>(op))) << op_name(static_cast<Op>(op));
  }
}

TEST(Definitions, OnlyBasicOperationsRemain) {
  const Program program = every_operation();
  const Result<Program> expanded = expand(program, keep_none);
  ASSERT_TRUE(expanded.ok()) << expanded.error().message;
  for (const Node& node : expanded->nodes) EXPECT_TRUE(is_basic(node.op)) << node.name;
  expect_same_interface(program, *expanded);
}

TEST(Definitions, EachOperationExpandsAlone) {
  const Program program = every_operation();
  for (int op = 0; op < static_cast<int>(Op::add); ++op) {
    const auto target = static_cast<Op>(op);
    const Result<Program> expanded =
        expand(program, [target](const Node& node) { return node.op != target; });
    ASSERT_TRUE(expanded.ok()) << op_name(target) << ": " << expanded.error().message;
    std::set<Op> ops;
    for (const Node& node : expanded->nodes) ops.insert(node.op);
    EXPECT_FALSE(ops.contains(target)) << op_name(target);
    expect_same_interface(program, *expanded);
  }
}

TEST(Definitions, KeptNodesKeepNameLineAndAttributes) {
  const Program program = every_operation();
  const Result<Program> same = expand(program, [](const Node&) { return true; });
  ASSERT_TRUE(same.ok()) << same.error().message;
  EXPECT_EQ(print(*same), print(program));
  EXPECT_EQ(content_hash(*same), content_hash(program));
  for (size_t i = 0; i < program.nodes.size(); ++i) {
    EXPECT_EQ(same->nodes[i].where.line(), program.nodes[i].where.line());
  }
}

TEST(Definitions, NewNodesExtendTheNameAndStandAtTheModelsLine) {
  const auto forward = [](Recorder& recorder) {
    const Tensor weight =
        recorder.weights().matrix("w.weight", {{Axis::vocab, 16}}, {{Axis::embed, 8}});
    const Tensor x = embed(recorder.tokens(), weight);
    const Scope layer(recorder, "layers", 0);
    recorder.output("y", linear(x, weight));
  };
  const Program program = record("test", {}, forward).value();
  const Program expanded = expand(program, keep_none).value();
  ASSERT_EQ(expanded.nodes.size(), 2u);
  EXPECT_EQ(expanded.nodes[0].name, "embed.gather");
  EXPECT_EQ(expanded.nodes[1].name, "layers.0.w.dot");
  EXPECT_EQ(expanded.nodes[1].where.line(), program.nodes[1].where.line());
  EXPECT_STREQ(expanded.nodes[1].where.file_name(), program.nodes[1].where.file_name());
}

TEST(Definitions, AttentionWritesTheStateBeforeItReads) {
  const auto forward = [](Recorder& recorder) { record_gpt_oss(recorder, {}); };
  const Program program = record("gpt_oss", {}, forward).value();
  const Program expanded = expand(program, keep_none).value();
  std::vector<std::string> state;
  for (const Node& node : expanded.nodes) {
    if (node.op == Op::state_write || node.op == Op::state_read) state.push_back(node.name);
  }
  const std::vector<std::string> expected = {
      "layers.0.attend.attention.state_write", "layers.0.attend.attention.state_read",
      "layers.1.attend.attention.state_write", "layers.1.attend.attention.state_read"};
  EXPECT_EQ(state, expected);
}

TEST(Definitions, AttentionWithoutStateReadsThePositionsAndSequencesOfTheRows) {
  const auto forward = [](Recorder& recorder) { record_dream(recorder, {}); };
  const Program program = record("dream", {.stateful = false}, forward).value();
  const Program expanded = expand(program, keep_none).value();
  std::set<InputKind> inputs;
  for (const Value& value : expanded.values) {
    if (value.kind == Value::Kind::input) inputs.insert(value.input);
  }
  EXPECT_TRUE(inputs.contains(InputKind::positions));
  EXPECT_TRUE(inputs.contains(InputKind::row_sequences));
  for (const Node& node : expanded.nodes) {
    EXPECT_TRUE(node.op != Op::state_write && node.op != Op::state_read) << node.name;
  }
}

TEST(Definitions, AnUnsoundProgramIsRefused) {
  Program program = every_operation();
  program.outputs.clear();
  EXPECT_FALSE(expand(program, keep_none).ok());
}

}  // namespace
}  // namespace dunlin
