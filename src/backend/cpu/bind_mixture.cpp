// Binds the operations of a mixture of experts.
#include <algorithm>

#include "backend/cpu/bind.h"
#include "backend/cpu/experts_step.h"
#include "backend/cpu/optimizations.h"
#include "backend/cpu/route_step.h"

namespace dunlin::cpu {

namespace {

ExpertMatrices bind_stack(const Binding& binding, const Node& node, size_t operand, size_t bias) {
  const HeldWeight& weight = binding.weights.of(binding.program, node.operands[operand]);
  ExpertMatrices matrices;
  matrices.first = *weight.packed;
  matrices.count = weight.matrices;
  matrices.bias = binding.optional_f32(node, bias);
  for (const RowClass row_class : {RowClass::prompt, RowClass::generated}) {
    const auto index = static_cast<size_t>(row_class);
    matrices.arithmetic[index] = weight.arithmetic[index];
    matrices.kernel[index] = linear_kernel(binding, weight, matrices.arithmetic[index]);
  }
  return matrices;
}

}  // namespace

std::unique_ptr<BoundStep> bind_route(const Binding& binding, const Node& node) {
  const HeldWeight& weight = binding.weights.of(binding.program, node.operands[1]);
  constexpr auto f32 = static_cast<size_t>(Arithmetic::f32);
  RouteSettings settings;
  settings.weight = *weight.packed;
  settings.bias = binding.optional_f32(node, 2);
  settings.x = binding.f32(node.operands[0]);
  settings.chosen = binding.i32(node.results[0]);
  settings.weights = binding.f32(node.results[1]);
  settings.attributes = std::get<RouteAttributes>(node.attributes);
  settings.rows = *leading_rows(binding.program.type(node.operands[0]).dims, 1);
  settings.prepare = binding.kernels.prepare[f32];
  settings.linear = linear_kernel(binding, weight, Arithmetic::f32);
  settings.top_k = binding.kernels.top_k;
  return std::make_unique<RouteStep>(settings);
}

std::unique_ptr<BoundStep> bind_experts(const Binding& binding, const Node& node) {
  const auto& attributes = std::get<GatedAttributes>(node.attributes);
  ExpertsSettings settings;
  settings.gate = bind_stack(binding, node, 3, 6);
  settings.up = bind_stack(binding, node, 4, 7);
  settings.down = bind_stack(binding, node, 5, 8);
  settings.x = binding.f32(node.operands[0]);
  settings.chosen = binding.i32(node.operands[1]);
  settings.weights = binding.f32(node.operands[2]);
  settings.y = binding.f32(node.results[0]);
  if (attributes.keeps_hidden) settings.hidden = binding.f32(node.results[1]);
  settings.per_row = binding.program.type(node.operands[1]).dims.back().size;
  std::ranges::copy(binding.kernels.prepare, settings.prepare);
  settings.gated = binding.kernels.gated[static_cast<size_t>(attributes.kind)];
  settings.alpha = attributes.alpha;
  settings.limit = attributes.limit;
  settings.add_scaled = binding.kernels.add_scaled;
  settings.prefetch_bytes = binding.prefetch_bytes;
  settings.limits = binding.options.limits;
  settings.grouped = binding.options.enabled(kMoeGrouping);
  return std::make_unique<ExpertsStep>(std::move(settings));
}

}  // namespace dunlin::cpu
