#include "backend/cpu/offloaded_step.h"

#include <cstddef>

namespace dunlin::cpu {

void OffloadedStep::run(const RunContext& context) noexcept {
  offload_.enter(use_.weights.group);
  const bool has_experts = use_.weights.stack >= 0;
  if (has_experts) {
    const auto choices = static_cast<size_t>(context.sizes().rows * use_.per_row);
    offload_.choose(use_.weights.stack, {use_.chosen, choices}, context.pool);
  }
  step_->run(context);
  if (has_experts) offload_.leave();
  if (use_.last) offload_.end_run();
}

void offload_steps(const Binding& binding, std::span<const FusedStep> fused, Offload& offload,
                   std::vector<std::unique_ptr<BoundStep>>& steps) {
  for (size_t i = 0; i < steps.size(); ++i) {
    OffloadedUse use{.weights = offload.steps()[i], .last = i + 1 == steps.size()};
    if (use.weights.stack >= 0) {
      const ValueId chosen = binding.node(fused[i].node).operands[1];
      use.chosen = binding.i32(chosen);
      use.per_row = binding.program.type(chosen).dims.back().size;
    }
    steps[i] = std::make_unique<OffloadedStep>(std::move(steps[i]), use, offload);
  }
}

}  // namespace dunlin::cpu
