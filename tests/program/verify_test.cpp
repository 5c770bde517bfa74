// verify() refuses Programs broken by hand, one way at a time, and accepts every sound one.
#include <gtest/gtest.h>

#include "every_operation.h"
#include "program/ops.h"
#include "support/blocks.h"

namespace dunlin {
namespace {

// A sound Program with a weight matrix, a bias, two stateful layers and two outputs.
Program small() {
  const auto forward = [](Recorder& recorder) {
    const AxisList eight{{Axis::embed, 8}};
    Tensor x = embed(recorder.tokens(),
                     recorder.weights().matrix("embed.weight", {{Axis::vocab, 16}}, eight));
    for (int64_t i = 0; i < 2; ++i) {
      const Scope layer(recorder, "layers", i);
      const WeightScope weights = recorder.weights().scope(i);
      const Tensor weight = weights.matrix("q_proj.weight", eight, eight);
      const Tensor y = linear(x, weight, weights.vector("q_proj.bias", eight));
      const Tensor heads = reshape(y, {Symbol::rows, 2, 4});
      const auto place = recorder.kv_layer(0, 2, 4);
      const Tensor z =
          attention(heads, heads, heads, Tensor(), {.group = place.group, .layer = place.layer});
      x = x + reshape(z, {Symbol::rows, 8});
    }
    recorder.output("x", x);
    recorder.output("twice", x + x);
  };
  return record("small", {}, forward).value();
}

size_t index_of(const Program& program, const std::string& name) {
  for (size_t i = 0; i < program.nodes.size(); ++i) {
    if (program.nodes[i].name == name) return i;
  }
  ADD_FAILURE() << "no node " << name;
  return 0;
}

Node& node(Program& program, const std::string& name) {
  return program.nodes[index_of(program, name)];
}

Value& result_of(Program& program, const std::string& name) {
  return program.values[static_cast<size_t>(node(program, name).results[0])];
}

// Breaks a sound Program and expects the error.
template <typename Break>
void expect_error(const std::string& error, Break change) {
  Program program = small();
  ASSERT_TRUE(verify(program).ok());
  change(program);
  const Result<void> result = verify(program);
  ASSERT_FALSE(result.ok()) << "expected: " << error;
  EXPECT_EQ(result.error().kind, ErrorKind::model);
  EXPECT_NE(result.error().message.find(error), std::string::npos)
      << result.error().message << "\nexpected: " << error;
}

TEST(Verify, AcceptsSoundPrograms) {
  EXPECT_TRUE(verify(small()).ok());
  EXPECT_TRUE(verify(every_operation()).ok());
}

TEST(Verify, AnErrorNamesTheModelsLine) {
  Program program = small();
  node(program, "layers.1.q_proj").operands.pop_back();
  node(program, "layers.1.q_proj").operands.pop_back();
  const Result<void> result = verify(program);
  ASSERT_FALSE(result.ok());
  EXPECT_TRUE(result.error().message.starts_with("tests/program/verify_test.cpp:"))
      << result.error().message;
  EXPECT_NE(result.error().message.find("linear layers.1.q_proj: 1 operands, expected 2 to 3"),
            std::string::npos)
      << result.error().message;
}

TEST(Verify, Operands) {
  expect_error("embed embed: no operand 99", [](Program& p) { node(p, "embed").operands[0] = 99; });
  expect_error("embed embed: no operand -1", [](Program& p) { node(p, "embed").operands[0] = -1; });
  expect_error("is computed later", [](Program& p) {
    node(p, "layers.0.add").operands[0] = node(p, "layers.1.add").results[0];
  });
  expect_error("is computed later", [](Program& p) {  // its own result
    node(p, "layers.0.add").operands[0] = node(p, "layers.0.add").results[0];
  });
}

TEST(Verify, ResultsHaveTheTypesTheOperandsGive) {
  expect_error("add layers.0.add: results are not of the types",
               [](Program& p) { result_of(p, "layers.0.add").type.dims[1] = 9; });
  expect_error("add add: results are not of the types",
               [](Program& p) { result_of(p, "add").type.dtype = DType::i32; });
  expect_error("add add: results are not of the types", [](Program& p) {
    p.outputs.pop_back();
    p.values.pop_back();
    node(p, "add").results.clear();
  });
  expect_error("x [T,8] does not have the elements of [T,2,5]",
               [](Program& p) { result_of(p, "layers.0.reshape").type.dims[2] = 5; });
}

TEST(Verify, AttributesBelongToTheirOperation) {
  expect_error("add add: attributes of another operation",
               [](Program& p) { node(p, "add").attributes = EmbedAttributes{}; });
  expect_error("attributes of another operation",
               [](Program& p) { node(p, "layers.0.attention").attributes = NoAttributes{}; });
}

TEST(Verify, ValuesAndNodesAgree) {
  expect_error("not a result of its node", [](Program& p) { result_of(p, "add").result = 1; });
  expect_error("no such node", [](Program& p) { result_of(p, "add").node = 99; });
  expect_error("result 0 is not its own", [](Program& p) {
    Value extra = result_of(p, "add");
    p.values.push_back(extra);
    node(p, "add").results[0] = node(p, "layers.0.add").results[0];
    p.values.erase(p.values.end() - 2, p.values.end());
    p.outputs.pop_back();
  });
}

TEST(Verify, Names) {
  expect_error("the name is empty or not unique", [](Program& p) { node(p, "add").name.clear(); });
  expect_error("add layers.0.add: the name is empty or not unique",
               [](Program& p) { node(p, "layers.1.add").name = "layers.0.add"; });
}

TEST(Verify, Inputs) {
  expect_error("value 0: not the type of its input",
               [](Program& p) { p.values[0].type.dtype = DType::f32; });
  expect_error("an input or weight again", [](Program& p) { p.values.push_back(p.values[0]); });
}

TEST(Verify, Weights) {
  expect_error("value 1: not the type of its weight",
               [](Program& p) { p.values[1].type.dims[0] = 15; });
  expect_error("value 1: no such weight", [](Program& p) { p.values[1].weight = 99; });
  expect_error("an input or weight again", [](Program& p) { p.values.push_back(p.values[1]); });
  expect_error("weight embed.weight: the name is empty or not unique",
               [](Program& p) { p.weights[1].name = "embed.weight"; });
  expect_error("needs one to three dimensions of positive sizes",
               [](Program& p) { p.weights[1].dims[0][0].size = 0; });
  expect_error("needs one to three dimensions of positive sizes",
               [](Program& p) { p.weights[1].dims.clear(); });
  expect_error("needs one to three dimensions of positive sizes", [](Program& p) {
    p.weights[1].dims = {{{Axis::embed, int64_t{1} << 40}}, {{Axis::ffn, int64_t{1} << 40}}};
  });
  expect_error("a weight has no value",
               [](Program& p) { p.weights.push_back({"extra", {{{Axis::embed, 8}}}, {}}); });
  expect_error("weight 1.q_proj.bias: never used",
               [](Program& p) { node(p, "layers.1.q_proj").operands.pop_back(); });
}

TEST(Verify, Outputs) {
  expect_error("no outputs", [](Program& p) { p.outputs.clear(); });
  expect_error("output x: no value 99", [](Program& p) { p.outputs[0].value = 99; });
  expect_error("output \"x\": empty or not unique",
               [](Program& p) { p.outputs[1].name = p.outputs[0].name; });
}

AttentionAttributes& attention_of(Program& program, const std::string& name) {
  return std::get<AttentionAttributes>(node(program, name).attributes);
}

TEST(Verify, KvGroups) {
  expect_error("a size is out of range", [](Program& p) { p.kv_groups.push_back({0, 2, 8, 0}); });
  expect_error("KV groups 0 and 1 are alike",
               [](Program& p) { p.kv_groups.push_back({0, 2, 4, 1}); });
  expect_error("a layer of the KV state is never written",
               [](Program& p) { p.kv_groups[0].layers = 3; });
  expect_error("a layer of the KV state is never written",
               [](Program& p) { p.kv_groups.push_back({0, 2, 8, 1}); });
  expect_error("layer 0 of KV group 0 is written twice",
               [](Program& p) { attention_of(p, "layers.1.attention").layer = 0; });
  expect_error("layer 1 of KV group 0 with 1 layers",
               [](Program& p) { p.kv_groups[0].layers = 1; });
  expect_error("window 3 in a KV group with window 0",
               [](Program& p) { attention_of(p, "layers.1.attention").window = 3; });
}

TEST(Verify, StateIsWrittenBeforeItIsRead) {
  Program program = every_operation();
  const size_t write = index_of(program, "state_write");
  ASSERT_EQ(program.nodes[write + 1].op, Op::state_read);
  std::swap(program.nodes[write], program.nodes[write + 1]);
  for (const ValueId id : program.nodes[write].results) {
    program.values[static_cast<size_t>(id)].node = static_cast<int32_t>(write);
  }
  const Result<void> result = verify(program);
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.error().message.find("reads a layer of the KV state before it is written"),
            std::string::npos)
      << result.error().message;
}

}  // namespace
}  // namespace dunlin
