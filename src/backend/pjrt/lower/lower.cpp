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
    case Op::logits_view:
      return lower_logits_view(it);
    case Op::state_read:
      return lower_state_read(it);
    case Op::state_write:
      write_state(it.context, it.attributes<StateAttributes>(), it.operand(0), it.operand(1));
      return {};
    default:
      return lower_basic(it);
  }
}

// The Program's outputs, and how they are split.
void lower_outputs(LoweringContext& context, LoweredProgram& lowered, Vars& results) {
  for (size_t i = 0; i < context.program.outputs.size(); ++i) {
    results.push_back(context.output(i));
    lowered.outputs.push_back(results.back().type);
    lowered.output_axes.push_back(context.output_axes(i));
  }
}

}  // namespace

void lower_nodes(LoweringContext& context) {
  for (const Node& node : context.program.nodes) {
    context.b.set_location(node.name);
    const Vars results = lower_node({context, node, context.b});
    DUNLIN_CHECK(results.size() == node.results.size(), node.name);
    for (size_t i = 0; i < results.size(); ++i) {
      DUNLIN_CHECK(results[i].type == context.type_of(node.results[i]),
                   node.name + " became " + results[i].type.text());
      context.set_value(node.results[i], results[i]);
    }
  }
}

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

bool is_lowered_directly(Op op, bool on_mesh) {
  return op == Op::embed || op == Op::linear || op == Op::experts || op == Op::attention ||
         (on_mesh && op == Op::logits_view);
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

TensorType weight_type(const Program& program, const WeightUse& use,
                       const ProgramSharding* sharding) {
  TensorType type{use.element, {}};
  for (const Dim& dim : program.weights[static_cast<size_t>(use.weight)].shape())
    type.dims.push_back(dim.size);
  if (sharding != nullptr)
    type.dims = sharding->local(sharding->weights[static_cast<size_t>(use.weight)], type.dims);
  return type;
}

TensorType place_type() {
  return {Element::i32, {static_cast<int64_t>(kMeshAxes)}};
}

std::vector<TensorType> state_types(const Program& program, const std::vector<KvGroupShape>& groups,
                                    Element element, const ProgramSharding* sharding) {
  std::vector<TensorType> types;
  for (size_t i = 0; i < program.kv_groups.size(); ++i) {
    const KvGroup& group = program.kv_groups[i];
    int64_t kv_heads = group.kv_heads;
    if (sharding != nullptr) kv_heads = sharding->local(sharding->keys[i], {1, kv_heads, 1})[1];
    const TensorType type{element,
                          {groups[i].slots, kv_heads, groups[i].positions, group.head_dim}};
    types.insert(types.end(), static_cast<size_t>(2 * group.layers), type);
  }
  return types;
}

LoweredProgram lower(const Program& program, const Bucket& bucket, const LoweringOptions& options) {
  LoweringContext context(program, bucket, options);
  LoweredProgram lowered;
  lowered.weights = weight_uses(program, options);
  lowered.state =
      state_types(program, bucket.groups, kv_element(options.precision), options.sharding.get());
  context.declare_arguments(lowered.weights, lowered.state);
  lowered.step = context.step_type();
  Vars results;
  if (bucket.steps > 1) {
    const Var chosen = lower_loop(context);
    results = context.state_results();
    results.push_back(chosen);
    lowered.outputs.push_back(chosen.type);
    lowered.output_axes.emplace_back();
  } else {
    lower_nodes(context);
    results = context.state_results();
    lower_outputs(context, lowered, results);
  }
  lowered.text = context.b.finish(results, context.result_splits());
  return lowered;
}

}  // namespace dunlin::pjrt
