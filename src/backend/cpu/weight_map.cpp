#include "backend/cpu/weight_map.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "backend/cpu/select.h"

namespace dunlin::cpu {

namespace {

class Mapper {
 public:
  Mapper(const Program& program, const Weights& weights) : program_(program), weights_(weights) {}

  void add(const FusedStep& step) {
    const std::string_view layer = layer_of(program_.nodes[static_cast<size_t>(step.node)].name);
    if (map_.groups.empty() || layer != layer_) map_.groups.push_back({.layer = !layer.empty()});
    layer_ = layer;
    StepWeights use{.group = static_cast<int32_t>(map_.groups.size() - 1)};
    for (const int32_t number : step.nodes()) {
      const Node& node = program_.nodes[static_cast<size_t>(number)];
      if (select_runner(program_, node) != Runner::kernel) continue;
      if (node.op == Op::experts) use.stack = add_experts(node);
      add_dense(node);
    }
    map_.steps.push_back(use);
  }

  WeightMap finish() && {
    for (DenseGroup& group : map_.groups) {
      group.ranges = joined(std::move(group.ranges));
      for (const MemoryRange& range : group.ranges) group.bytes += range.bytes;
    }
    return std::move(map_);
  }

 private:
  int32_t add_experts(const Node& node) {
    constexpr size_t kFirstMatrix = 3;  // behind x, the choices and their weights
    MappedExperts experts;
    for (size_t i = 0; i < experts.first.size(); ++i) {
      const HeldWeight& held = weights_.of(program_, node.operands[kFirstMatrix + i]);
      experts.first[i] = {held.packed->data, held.packed->layout.bytes()};
      experts.experts = held.matrices;
    }
    map_.stacks.push_back(experts);
    return static_cast<int32_t>(map_.stacks.size() - 1);
  }

  // The weights of a node but single experts. One that several nodes read is the first one's.
  void add_dense(const Node& node) {
    if (node.op == Op::embed) return;
    for (size_t i = 0; i < node.operands.size(); ++i) {
      const ValueId id = node.operands[i];
      if (!is_weight(program_, id)) continue;
      const bool packed = reads_packed(node, i);
      if (packed && node.op == Op::experts) continue;
      const WeightId weight = program_.values[static_cast<size_t>(id)].weight;
      if (!seen_.insert({weight, packed}).second) continue;
      const HeldWeight& held = weights_.of(program_, id);
      std::vector<MemoryRange>& ranges = map_.groups.back().ranges;
      if (packed) {
        ranges.push_back({held.packed->data, held.matrices * held.packed->layout.bytes()});
      } else {
        ranges.push_back({reinterpret_cast<const std::byte*>(held.plain), held.plain_bytes});
      }
    }
  }

  const Program& program_;
  const Weights& weights_;
  WeightMap map_ = {};
  std::string_view layer_ = {};
  std::set<std::pair<WeightId, bool>> seen_ = {};
};

}  // namespace

std::string_view layer_of(std::string_view node) {
  const size_t first = node.find('.');
  if (first == std::string_view::npos) return {};
  const size_t second = std::min(node.find('.', first + 1), node.size());
  const std::string_view number = node.substr(first + 1, second - first - 1);
  const bool is_number =
      !number.empty() && number.find_first_not_of("0123456789") == std::string_view::npos;
  return is_number ? node.substr(0, second) : std::string_view();
}

int64_t experts_per_row(const Program& program) {
  int64_t most = 0;
  for (const Node& node : program.nodes) {
    if (node.op == Op::experts)
      most = std::max(most, program.type(node.operands[1]).dims.back().size);
  }
  return most;
}

WeightMap map_weights(const Program& program, std::span<const FusedStep> steps,
                      const Weights& weights) {
  Mapper mapper(program, weights);
  for (const FusedStep& step : steps) mapper.add(step);
  return std::move(mapper).finish();
}

}  // namespace dunlin::cpu
