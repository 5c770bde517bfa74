// Binds attention with the rotations fused into it.
#include "backend/cpu/attention_step.h"
#include "backend/cpu/bind.h"
#include "backend/cpu/optimizations.h"
#include "backend/cpu/repeated_attention_step.h"

namespace dunlin::cpu {

namespace {

RopeOperand plain_operand(const Binding& binding, ValueId id) {
  RopeOperand operand;
  operand.x = binding.f32(id);
  operand.y = binding.f32(id);
  return operand;
}

RopeOperand rotated_operand(const Binding& binding, const Node& rope) {
  const Dims& angle_dims = binding.program.type(rope.operands[1]).dims;
  RopeOperand operand;
  operand.x = binding.f32(rope.operands[0]);
  operand.y = binding.f32(rope.results[0]);
  operand.angles = binding.f32(rope.operands[1]);
  operand.angle_stride = angle_dims[1].size * angle_dims[2].size;
  operand.rotary_dim = std::get<RopeAttributes>(rope.attributes).rotary_dim;
  return operand;
}

}  // namespace

std::unique_ptr<BoundStep> bind_attention(const Binding& binding, const FusedStep& step) {
  const Node& node = binding.node(step.node);
  const Kernels& kernels = binding.kernels;
  const auto type = static_cast<size_t>(binding.kv_type);
  const Dims& q_dims = binding.program.type(node.operands[0]).dims;
  const Dims& k_dims = binding.program.type(node.operands[1]).dims;
  AttentionSettings settings;
  settings.name = step_name(binding, step);
  settings.attributes = std::get<AttentionAttributes>(node.attributes);
  settings.heads = q_dims[1].size;
  settings.kv_heads = k_dims[1].size;
  settings.group = settings.heads / settings.kv_heads;
  settings.head_dim = q_dims[2].size;
  settings.q = plain_operand(binding, node.operands[0]);
  settings.k = plain_operand(binding, node.operands[1]);
  if (step.rope_q != kNoNode) {
    settings.q = rotated_operand(binding, binding.node(step.rope_q));
    settings.rope_q = kernels.rope;
  }
  if (step.rope_k != kNoNode) {
    settings.k = rotated_operand(binding, binding.node(step.rope_k));
    settings.rope_k = kernels.rope;
  }
  settings.v = binding.f32(node.operands[2]);
  settings.sinks = binding.optional_f32(node, 3);
  settings.result = binding.f32(node.results[0]);
  settings.kv_type = binding.kv_type;
  settings.kv_write = kernels.kv_write[type];
  settings.attention = kernels.attention[type];
  settings.split = kernels.attention_split[type];
  settings.merge = kernels.attention_merge;
  settings.limits = binding.options.limits;
  settings.threads = binding.options.threads;
  if (!binding.options.enabled(kGqa) && settings.group > 1)
    return std::make_unique<RepeatedAttentionStep>(std::move(settings));
  return std::make_unique<AttentionStep>(std::move(settings));
}

}  // namespace dunlin::cpu
