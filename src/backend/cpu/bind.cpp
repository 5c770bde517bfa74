// The table from operation to the function that binds it, and the binding of linears.
#include "backend/cpu/bind.h"

#include <algorithm>

#include "backend/cpu/linear_step.h"
#include "base/check.h"

namespace dunlin::cpu {

namespace {

LinearMatrix bind_matrix(const Binding& binding, const LinearPart& part) {
  const Node& node = binding.node(part.linear);
  const HeldWeight& weight = binding.weights.of(binding.program, node.operands[1]);
  LinearMatrix matrix;
  matrix.weight = *weight.packed;
  for (const RowClass row_class : {RowClass::prompt, RowClass::generated}) {
    const auto index = static_cast<size_t>(row_class);
    const Arithmetic arithmetic = weight.arithmetic[index];
    matrix.arithmetic[index] = arithmetic;
    matrix.kernel[index] = linear_kernel(binding, weight, arithmetic);
  }
  matrix.bias = binding.optional_f32(node, 2);
  ValueId result = node.results[0];
  if (part.residual_add != kNoNode) {
    const Node& add = binding.node(part.residual_add);
    matrix.residual = binding.f32(add.operands[add.operands[0] == result ? 1 : 0]);
    result = add.results[0];
  }
  matrix.y = binding.f32(result);
  return matrix;
}

Kernel<GatedFunction> gated_kernel(const Binding& binding, const GatedAttributes& attributes) {
  static_assert(static_cast<int>(GateKind::silu) == static_cast<int>(Gate::silu) &&
                static_cast<int>(GateKind::gelu_tanh) == static_cast<int>(Gate::gelu_tanh) &&
                static_cast<int>(GateKind::oai) == static_cast<int>(Gate::oai));
  return binding.kernels.gated[static_cast<size_t>(attributes.kind)];
}

}  // namespace

Kernel<LinearFunction> linear_kernel(const Binding& binding, const HeldWeight& weight,
                                     Arithmetic arithmetic) {
  const auto form = static_cast<size_t>(weight.packed->layout.form);
  const auto kernel = binding.kernels.linear[static_cast<size_t>(arithmetic)][form];
  DUNLIN_CHECK(kernel.run != nullptr, "no linear kernel for an arithmetic of a packed form");
  return kernel;
}

std::string step_name(const Binding& binding, const FusedStep& step) {
  std::string name = op_name(binding.node(step.node).op);
  for (const char* rewrite : step.rewrites()) name += std::string("+") + rewrite;
  return name;
}

std::unique_ptr<BoundStep> bind_linears(const Binding& binding, const FusedStep& step) {
  const Node& node = binding.node(step.node);
  const Dims& dims = binding.program.type(node.operands[0]).dims;
  LinearSettings settings;
  settings.name = step_name(binding, step);
  for (const LinearPart& part : step.linears) {
    settings.matrices.push_back(bind_matrix(binding, part));
  }
  ValueId x = node.operands[0];
  if (step.norm != kNoNode) {
    const Node& norm = binding.node(step.norm);
    settings.norm = binding.kernels.rms_norm;
    settings.norm_weight = binding.f32(norm.operands[1]);
    settings.eps = std::get<RmsNormAttributes>(norm.attributes).eps;
    x = norm.operands[0];
  }
  if (step.embed != kNoNode) settings.embed = embed_rows(binding, binding.node(step.embed));
  settings.x = binding.f32(x);
  settings.columns = dims.back().size;
  settings.rows = *leading_rows(dims, 1);
  std::ranges::copy(binding.kernels.prepare, settings.prepare);
  if (step.gated != kNoNode) {
    const Node& gated = binding.node(step.gated);
    const auto& attributes = std::get<GatedAttributes>(gated.attributes);
    settings.gated = gated_kernel(binding, attributes);
    settings.alpha = attributes.alpha;
    settings.limit = attributes.limit;
    settings.gated_y = binding.f32(gated.results[0]);
  }
  settings.prefetch_bytes = binding.prefetch_bytes;
  settings.limits = binding.options.limits;
  return std::make_unique<LinearStep>(std::move(settings));
}

std::unique_ptr<BoundStep> bind(const Binding& binding, const FusedStep& step) {
  const Node& node = binding.node(step.node);
  switch (node.op) {
    case Op::linear:
      return bind_linears(binding, step);
    case Op::attention:
      return bind_attention(binding, step);
    case Op::route:
      return bind_route(binding, node);
    case Op::experts:
      return bind_experts(binding, node);
    case Op::logits_view:
      return bind_logits_view(binding, node);
    case Op::state_write:
      return bind_state_write(binding, node);
    case Op::state_read:
      return bind_state_read(binding, node);
    default:
      return bind_rows(binding, node);
  }
}

}  // namespace dunlin::cpu
