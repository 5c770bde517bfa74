// A Program as text: stable, so that it can be compared, and complete but for the nodes' lines.
#include <fmt/format.h>

#include <iterator>
#include <string>
#include <type_traits>

#include "program/attribute_fields.h"
#include "program/enum_names.h"
#include "program/program.h"

namespace dunlin {

namespace {

std::string field_text(bool value) {
  return value ? "true" : "false";
}
std::string field_text(const std::string& value) {
  return value;
}
template <typename T>
std::string field_text(const T& value) {
  if constexpr (std::is_enum_v<T>) {
    return enum_name(value);
  } else {
    return fmt::format("{}", value);
  }
}
template <typename T>
std::string field_text(const std::vector<T>& values) {
  return fmt::format("[{}]", fmt::join(values, ","));
}

std::string attributes_text(const Attributes& attributes) {
  std::string text;
  for_each_field(attributes, [&text](const char* name, const auto& value) {
    text += fmt::format("{}{}={}", text.empty() ? " {" : ", ", name, field_text(value));
  });
  return text.empty() ? text : text + '}';
}

std::string value_text(const Program& program, ValueId id) {
  const Value& value = program.values[static_cast<size_t>(id)];
  switch (value.kind) {
    case Value::Kind::input:
      return input_name(value.input);
    case Value::Kind::weight:
      return program.weights[static_cast<size_t>(value.weight)].name;
    case Value::Kind::node:
      break;
  }
  return fmt::format("%{}", id);
}

// "%12 = linear(%9, model.norm.weight) {..} : f32 [T,576]  layers.0.attend.q_proj"
std::string node_text(const Program& program, const Node& node) {
  std::vector<std::string> operands;
  for (const ValueId id : node.operands) operands.push_back(value_text(program, id));
  std::vector<std::string> results;
  std::vector<std::string> types;
  for (const ValueId id : node.results) {
    const ValueType& type = program.type(id);
    results.push_back(value_text(program, id));
    types.push_back(fmt::format("{} {}", dtype_name(type.dtype), to_string(type.dims)));
  }
  const bool has_results = !results.empty();
  return fmt::format("{}{}{}({}){}{}{}  {}\n", fmt::join(results, ", "), has_results ? " = " : "",
                     op_name(node.op), fmt::join(operands, ", "), attributes_text(node.attributes),
                     has_results ? " : " : "", fmt::join(types, ", "), node.name);
}

// "weight model.norm.weight [embed 576]", the axes of one dimension joined by *
std::string weight_text(const WeightDeclaration& weight) {
  std::vector<std::string> dims;
  for (const AxisList& axes : weight.dims) {
    std::vector<std::string> factors;
    for (const AxisSize& axis : axes) {
      factors.push_back(fmt::format("{} {}", axis_name(axis.axis), axis.size));
    }
    dims.push_back(fmt::format("{}", fmt::join(factors, " * ")));
  }
  return fmt::format("weight {} [{}]\n", weight.name, fmt::join(dims, ", "));
}

}  // namespace

std::string print(const Program& program) {
  std::string text = fmt::format("program {}\n", program.model);
  auto end = std::back_inserter(text);
  for (size_t i = 0; i < program.kv_groups.size(); ++i) {
    const KvGroup& group = program.kv_groups[i];
    fmt::format_to(end, "kv group {}: window {}, kv_heads {}, head_dim {}, layers {}\n", i,
                   group.window, group.kv_heads, group.head_dim, group.layers);
  }
  for (const WeightDeclaration& weight : program.weights) text += weight_text(weight);
  for (const Node& node : program.nodes) text += node_text(program, node);
  for (const Output& output : program.outputs) {
    fmt::format_to(end, "output {} = {}\n", output.name, value_text(program, output.value));
  }
  return text;
}

}  // namespace dunlin
