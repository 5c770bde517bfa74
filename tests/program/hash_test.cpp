// The content hash: equal for equal recordings, different after any change that changes results.
#include <gtest/gtest.h>

#include <functional>
#include <type_traits>

#include "every_operation.h"
#include "program/attribute_fields.h"
#include "program/definitions.h"
#include "support/blocks.h"

namespace dunlin {
namespace {

// Another value of the same field.
void change(bool& value) {
  value = !value;
}
void change(std::string& value) {
  value += "x";
}
template <typename T>
void change(T& value) {
  if constexpr (std::is_enum_v<T>) {
    value = static_cast<T>(static_cast<int>(value) == 0 ? 1 : 0);
  } else {
    value = value * 2 + 1;
  }
}
template <typename T>
void change(std::vector<T>& values) {
  values.push_back(T(1));
}

class HashTest : public testing::Test {
 protected:
  // Expects another hash while `field` is changed, and the old one after.
  template <typename T>
  void expect_matters(T& field, const std::string& what) {
    const T before = field;
    change(field);
    EXPECT_NE(content_hash(program_), hash_) << what;
    field = before;
  }
  template <typename T>
  void expect_matters(T& field, T other, const std::string& what) {
    std::swap(field, other);
    EXPECT_NE(content_hash(program_), hash_) << what;
    std::swap(field, other);
  }
  ~HashTest() override { EXPECT_EQ(content_hash(program_), hash_); }

  Program program_ = every_operation();
  ContentHash hash_ = content_hash(program_);
};

TEST_F(HashTest, EveryAttributeMatters) {
  int fields = 0;
  for (Node& node : program_.nodes) {
    for_each_field(node.attributes, [&](const char* name, const auto& value) {
      using Field = std::remove_cvref_t<decltype(value)>;
      expect_matters(const_cast<Field&>(value), node.name + "." + name);  // node is not const
      ++fields;
    });
  }
  EXPECT_GT(fields, 60);
}

TEST_F(HashTest, EveryEdgeMatters) {
  for (Node& node : program_.nodes) {
    for (ValueId& operand : node.operands) expect_matters(operand, node.name + " operand");
    for (ValueId& result : node.results) expect_matters(result, node.name + " result");
  }
  for (Output& output : program_.outputs) expect_matters(output.value, output.name);
}

TEST_F(HashTest, EveryOperationMatters) {
  for (Node& node : program_.nodes) {
    expect_matters(node.op, node.op == Op::add ? Op::mul : Op::add, node.name);
  }
}

TEST_F(HashTest, EveryTypeMatters) {
  for (Value& value : program_.values) {
    const std::string what = to_string(value.type.dims);
    expect_matters(value.type.dtype, what);
    Dims more = value.type.dims;
    more.emplace_back(1);
    expect_matters(value.type.dims, more, what);
    if (!more.front().known()) continue;
    more = value.type.dims;
    more.front() = Symbol::slots;
    expect_matters(value.type.dims, more, what);
  }
}

TEST_F(HashTest, InputsMatter) {
  for (Value& value : program_.values) {
    if (value.kind != Value::Kind::input) continue;
    const auto other = value.input == InputKind::tokens ? InputKind::positions : InputKind::tokens;
    expect_matters(value.input, other, input_name(value.input));
  }
}

TEST_F(HashTest, WeightsMatter) {
  for (WeightDeclaration& weight : program_.weights) {
    expect_matters(weight.name, weight.name);
    expect_matters(weight.dims[0][0].size, weight.name);
    expect_matters(weight.dims[0][0].axis, Axis::head_dim, weight.name);
  }
}

TEST_F(HashTest, KvGroupsMatter) {
  for (KvGroup& group : program_.kv_groups) {
    expect_matters(group.window, "window");
    expect_matters(group.kv_heads, "kv_heads");
    expect_matters(group.head_dim, "head_dim");
    expect_matters(group.layers, "layers");
  }
}

TEST_F(HashTest, OutputNamesMatter) {
  for (Output& output : program_.outputs) expect_matters(output.name, output.name);
}

TEST_F(HashTest, NamesOfNodesAndLinesDoNot) {
  for (Node& node : program_.nodes) {
    node.name += "_renamed";
    node.where = std::source_location::current();
  }
  for (WeightDeclaration& weight : program_.weights) {
    weight.where = std::source_location::current();
  }
  program_.model = "another";
  EXPECT_EQ(content_hash(program_), hash_);
}

TEST(Hash, TwoRecordingsAreEqual) {
  const auto forward = [](Recorder& recorder) { record_gpt_oss(recorder, {}); };
  const Program first = record("gpt_oss", {}, forward).value();
  const Program second = record("gpt_oss", {}, forward).value();
  EXPECT_EQ(content_hash(first), content_hash(second));
}

TEST(Hash, IsTheSameForEveryCompilerAndMachine) {
  const Program program = every_operation();
  EXPECT_EQ(to_string(content_hash(program)), "19695b285a88177b39c6fadb0b1c30ae");
  const Program expanded = expand(program, [](const Node&) { return false; }).value();
  EXPECT_EQ(to_string(content_hash(expanded)), "a714f922e892d8f6197d9278071e5875");
}

}  // namespace
}  // namespace dunlin
