// Binding: a fused step becomes a BoundStep with the addresses of its values, its packed weights
// and its kernels.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/api.h"
#include "backend/cpu/bound_step.h"
#include "backend/cpu/embed_rows.h"
#include "backend/cpu/fuse.h"
#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/weights.h"

namespace dunlin::cpu {

struct Binding {
  const Program& program;
  const CompileOptions& options;
  const Kernels& kernels;
  const Weights& weights;
  KvType kv_type;
  std::vector<std::byte*> addresses;  // by value: memory, or a plain weight; null where neither
  int64_t prefetch_bytes = kPrefetchBytes;  // of `linear` (memory_tuning.h)

  const Node& node(int32_t number) const { return program.nodes[static_cast<size_t>(number)]; }
  float* f32(ValueId id) const {
    return reinterpret_cast<float*>(addresses[static_cast<size_t>(id)]);
  }
  int32_t* i32(ValueId id) const {
    return reinterpret_cast<int32_t*>(addresses[static_cast<size_t>(id)]);
  }
  // Operand `index` as f32, null when the node has fewer.
  const float* optional_f32(const Node& node, size_t index) const {
    return index < node.operands.size() ? f32(node.operands[index]) : nullptr;
  }
};

// The step of a node that a kernel runs, and of what is fused with it.
std::unique_ptr<BoundStep> bind(const Binding& binding, const FusedStep& step);

// Operation and rewrites, for kernels(): "linear+shared_input".
std::string step_name(const Binding& binding, const FusedStep& step);

// What multiplies by a packed weight for rows of a class.
Kernel<LinearFunction> linear_kernel(const Binding& binding, const HeldWeight& weight,
                                     Arithmetic arithmetic);

// What gathers the rows of an `embed`.
EmbedRows embed_rows(const Binding& binding, const Node& node);

// The parts of bind().
std::unique_ptr<BoundStep> bind_linears(const Binding& binding, const FusedStep& step);
std::unique_ptr<BoundStep> bind_attention(const Binding& binding, const FusedStep& step);
std::unique_ptr<BoundStep> bind_route(const Binding& binding, const Node& node);
std::unique_ptr<BoundStep> bind_experts(const Binding& binding, const Node& node);
std::unique_ptr<BoundStep> bind_rows(const Binding& binding, const Node& node);
std::unique_ptr<BoundStep> bind_state_write(const Binding& binding, const Node& node);
std::unique_ptr<BoundStep> bind_state_read(const Binding& binding, const Node& node);
std::unique_ptr<BoundStep> bind_logits_view(const Binding& binding, const Node& node);

}  // namespace dunlin::cpu
