// Sums over the Program's weights, KV groups and lifetimes, on each stage.
#include "planner/memory.h"

#include <algorithm>
#include <set>
#include <vector>

#include "program/liveness.h"
#include "program/sharding.h"

namespace dunlin {

namespace {

class Accountant {
 public:
  Accountant(const ShardedModel& sharded, const Capacity& capacity)
      : sharded_(sharded),
        program_(*sharded.model.program),
        capacity_(capacity),
        stages_(node_stages(program_, sharded.mesh.size(MeshAxis::stage))) {
    const StepLimits limits = capacity.limits();
    sizes_ = {.rows = limits.rows,
              .logit_rows = limits.logit_rows,
              .sequences = limits.sequences,
              .slots = limits.context};
  }

  DeviceMemory fullest() const {
    DeviceMemory fullest;
    for (int64_t stage = 0; stage < sharded_.mesh.size(MeshAxis::stage); ++stage) {
      const DeviceMemory memory = of_stage(stage);
      if (memory.total() > fullest.total()) fullest = memory;
    }
    return fullest;
  }

 private:
  DeviceMemory of_stage(int64_t stage) const {
    DeviceMemory memory;
    std::set<WeightId> held;
    for (size_t i = 0; i < program_.nodes.size(); ++i) {
      if (stages_[i] != stage) continue;
      const Node& node = program_.nodes[i];
      for (const ValueId id : node.operands) {
        const Value& value = program_.values[static_cast<size_t>(id)];
        if (value.kind == Value::Kind::weight) held.insert(value.weight);
      }
      if (node.op == Op::attention || node.op == Op::state_write) memory.kv += kv_of(node);
      memory.workspace = std::max({memory.workspace, scores_of(node), gathered_of(node)});
    }
    for (const WeightId weight : held) memory.weights += resting_bytes(sharded_, weight);
    memory.activations = live_values(stage);
    return memory;
  }

  // One layer's pages for all sequences.
  int64_t kv_of(const Node& node) const {
    const auto* attention = std::get_if<AttentionAttributes>(&node.attributes);
    if (attention != nullptr && !attention->stateful) return 0;
    const int32_t number =
        attention != nullptr ? attention->group : std::get<StateAttributes>(node.attributes).group;
    const KvGroup& group = program_.kv_groups[static_cast<size_t>(number)];
    const int64_t positions = kv_pages(group, capacity_.limits()) * kPageTokens;
    const int64_t heads = group.kv_heads / sharded_.mesh.size(MeshAxis::kv);
    return capacity_.sequences * positions *
           (sharded_.model.keys.bytes(heads, group.head_dim) +
            sharded_.model.values.bytes(heads, group.head_dim));
  }

  int64_t scores_of(const Node& node) const {
    if (node.op != Op::attention) return 0;
    const ValueAxes& queries = sharded_.model.axes[static_cast<size_t>(node.operands[0])];
    const Dim& heads = program_.type(node.operands[0]).dims[1];
    const int64_t local =
        queries[1].empty() ? sizes_.of(heads) : shard_extent(sharded_.mesh, queries[1]);
    return sizes_.rows * local * capacity_.context * int64_t{4};
  }

  int64_t gathered_of(const Node& node) const {
    if (sharded_.mesh.size(MeshAxis::fsdp) == 1) return 0;
    int64_t bytes = 0;
    for (const ValueId id : node.operands) {
      const Value& value = program_.values[static_cast<size_t>(id)];
      if (value.kind == Value::Kind::weight) bytes += gathered_bytes(sharded_, value.weight);
    }
    return 2 * bytes;
  }

  int64_t value_bytes(size_t value) const {
    const ValueType& type = program_.values[value].type;
    const bool of_rows =
        std::ranges::any_of(type.dims, [](const Dim& dim) { return dim.symbol == Symbol::rows; });
    const int64_t element = type.dtype == DType::f32 && of_rows ? 2 : dtype_bytes(type.dtype);
    return element * shard_elements(type, sharded_.model.axes[value], sharded_.mesh, sizes_);
  }

  // The most bytes that live during one node of the stage.
  int64_t live_values(int64_t stage) const {
    const Liveness& live = sharded_.model.live;
    std::vector<int64_t> change(program_.nodes.size() + 1, 0);
    for (size_t i = 0; i < program_.values.size(); ++i) {
      const bool computed = program_.values[i].kind == Value::Kind::node;
      if (!computed || live.storage_root[i] != static_cast<ValueId>(i)) continue;
      const LiveInterval interval = live.storage[i];
      const auto last = std::min(static_cast<size_t>(interval.last) + 1, program_.nodes.size());
      change[static_cast<size_t>(interval.first)] += value_bytes(i);
      change[last] -= value_bytes(i);
    }
    int64_t bytes = 0;
    int64_t most = 0;
    for (size_t i = 0; i < program_.nodes.size(); ++i) {
      bytes += change[i];
      if (stages_[i] == stage) most = std::max(most, bytes);
    }
    return most;
  }

  const ShardedModel& sharded_;
  const Program& program_;
  Capacity capacity_;
  std::vector<int64_t> stages_;
  SymbolSizes sizes_;
};

}  // namespace

DeviceMemory accelerator_memory(const ShardedModel& sharded, const Capacity& capacity) {
  return Accountant(sharded, capacity).fullest();
}

int64_t largest_fitting(int64_t most, const std::function<bool(int64_t)>& fits) {
  int64_t low = 0;  // fits, or is 0
  int64_t step = 1;
  while (low < most && fits(std::min(most, low + step))) {
    low = std::min(most, low + step);
    step *= 2;
  }
  int64_t high = std::min(most, low + step);  // does not fit, or is most
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    (fits(middle) ? low : high) = middle;
  }
  return low;
}

}  // namespace dunlin
