// The order of a lowered program: arguments, nodes, results.
#include "backend/pjrt/lower/lower.h"

#include "backend/pjrt/lower/context.h"
#include "base/check.h"

namespace dunlin::pjrt {
namespace {

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

Element kv_element(Precision precision) {
  return precision == Precision::f32 ? Element::f32 : Element::bf16;
}

bool is_lowered_directly(Op op, bool on_mesh) {
  return op == Op::embed || op == Op::linear || op == Op::experts || op == Op::attention ||
         (on_mesh && op == Op::logits_view);
}

TensorType place_type() {
  return {Element::i32, {static_cast<int64_t>(kMeshAxes)}};
}

LoweredProgram lower(const Program& program, const Bucket& bucket, const LoweringOptions& options) {
  LoweringContext context(program, bucket, options);
  LoweredProgram lowered;
  lowered.weights = weight_uses(program, options);
  lowered.state = state_types(program, bucket.groups, options);
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
  lowered.text =
      context.b.finish(results, context.result_splits(), kv_attributes(lowered.state, options));
  return lowered;
}

}  // namespace dunlin::pjrt
