// The order of a lowered program: arguments, nodes, results.
#include "backend/pjrt/lower/lower.h"

#include <set>

#include "backend/pjrt/lower/context.h"
#include "base/check.h"

namespace dunlin::pjrt {
namespace {

// How operand number `operand` of a node reads the weight it is.
Element element_read(const Node& node, size_t operand, Format format, Precision precision) {
  if (node.op == Op::embed) return table_element(format);
  const bool matrix = (node.op == Op::linear && operand == 1) ||
                      (node.op == Op::experts && operand >= 3 && operand <= 5);
  return matrix ? matrix_element(format, precision) : Element::f32;
}

Vars lower_node(const NodeLowering& it) {
  switch (it.node.op) {
    case Op::embed:
      return lower_embed(it);
    case Op::linear:
      return lower_linear(it);
    case Op::experts:
      return lower_experts(it);
    case Op::attention:
      return lower_attention(it);
    case Op::state_read:
      return lower_state_read(it);
    case Op::state_write:
      write_state(it.context, it.attributes<StateAttributes>(), it.operand(0), it.operand(1));
      return {};
    default:
      return lower_basic(it);
  }
}

}  // namespace

Element matrix_element(Format format, Precision precision) {
  const bool f32 = linear_arithmetic(format, precision, RowClass::prompt) == Arithmetic::f32;
  return f32 ? Element::f32 : Element::bf16;
}

Element table_element(Format format) {
  if (format == Format::bf16) return Element::bf16;
  return format == Format::f16 ? Element::f16 : Element::f32;
}

Element kv_element(Precision precision) {
  return precision == Precision::f32 ? Element::f32 : Element::bf16;
}

bool is_lowered_directly(Op op) {
  return op == Op::embed || op == Op::linear || op == Op::experts || op == Op::attention;
}

std::vector<WeightUse> weight_uses(const Program& program, const LoweringOptions& options) {
  std::set<WeightUse> uses;
  const auto add = [&](ValueId id, const auto& element_for) {
    const Value& value = program.values[static_cast<size_t>(id)];
    if (value.kind != Value::Kind::weight) return;
    uses.insert({value.weight, element_for(options.formats[static_cast<size_t>(value.weight)])});
  };
  for (const Node& node : program.nodes) {
    for (size_t i = 0; i < node.operands.size(); ++i) {
      add(node.operands[i],
          [&](Format format) { return element_read(node, i, format, options.precision); });
    }
  }
  for (const Output& output : program.outputs) {
    add(output.value, [](Format) { return Element::f32; });
  }
  return {uses.begin(), uses.end()};
}

std::vector<TensorType> state_types(const Program& program, const std::vector<KvGroupShape>& groups,
                                    Element element) {
  std::vector<TensorType> types;
  for (size_t i = 0; i < program.kv_groups.size(); ++i) {
    const KvGroup& group = program.kv_groups[i];
    const TensorType type{element,
                          {groups[i].slots, group.kv_heads, groups[i].positions, group.head_dim}};
    types.insert(types.end(), static_cast<size_t>(2 * group.layers), type);
  }
  return types;
}

LoweredProgram lower(const Program& program, const Bucket& bucket, const LoweringOptions& options) {
  LoweringContext context(program, bucket, options);
  LoweredProgram lowered;
  lowered.weights = weight_uses(program, options);
  lowered.state = state_types(program, bucket.groups, kv_element(options.precision));
  context.declare_arguments(lowered.weights, lowered.state);
  lowered.step = context.step_type();
  for (const Node& node : program.nodes) {
    context.b.set_location(node.name);
    const Vars results = lower_node({context, node, context.b});
    DUNLIN_CHECK(results.size() == node.results.size(), node.name);
    for (size_t i = 0; i < results.size(); ++i) {
      DUNLIN_CHECK(results[i].type == context.type_of(node.results[i]),
                   node.name + " became " + results[i].type.text());
      context.set_value(node.results[i], results[i]);
    }
  }
  Vars results = context.state_results();
  for (const Output& output : program.outputs) {
    results.push_back(context.value(output.value));
    lowered.outputs.push_back(results.back().type);
  }
  lowered.text = context.b.finish(results);
  return lowered;
}

std::string lower_page_copy(const std::vector<TensorType>& arrays) {
  Builder b;
  Vars values;
  for (size_t i = 0; i < arrays.size(); ++i) {
    values.push_back(
        b.argument(arrays[i], "{tf.aliasing_output = " + std::to_string(i) + " : i32}"));
  }
  const Var places = b.argument({Element::i32, {4}});
  const auto place = [&](int64_t i) { return b.reshape(b.slice(places, 0, i, i + 1), {}); };
  const Var zero = b.scalar(0);
  const Vars from = {place(0), zero, place(1), zero};
  const Vars to = {place(2), zero, place(3), zero};
  for (Var& array : values) {
    const Shape page{1, array.dim(1), kPageTokens, array.dim(3)};
    array = b.dynamic_update_slice(array, b.dynamic_slice(array, from, page), to);
  }
  return b.finish(values);
}

}  // namespace dunlin::pjrt
