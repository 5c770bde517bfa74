#include "backend/cpu/residency.h"

#include <algorithm>
#include <cstddef>
#include <optional>

#include "backend/cpu/fuse.h"
#include "backend/cpu/memory_budget.h"
#include "backend/cpu/weights.h"

namespace dunlin::cpu {

namespace {

// Where weights are taken to lie whose addresses are compared and never read.
const std::byte* nowhere() {
  return reinterpret_cast<const std::byte*>(uintptr_t{1} << 30);
}

int64_t bytes_of_experts(const WeightMap& map) {
  int64_t bytes = 0;
  for (const MappedExperts& each : map.stacks) bytes += each.experts * each.bytes_each();
  return bytes;
}

// What the executable would find once it holds everything else.
Result<uint64_t> budget_of(const Footprint& held, uint64_t unmapped, uint64_t available) {
  DUNLIN_ASSIGN_OR_RETURN(const std::optional<uint64_t> stated, stated_budget());
  if (stated) return *stated;
  const uint64_t taken = held.activations + held.workspace + unmapped;
  const uint64_t left =
      available == UINT64_MAX ? available : available - std::min(available, taken);
  return budget_within(left, held.kv).value_or(0);
}

uint64_t unsigned_of(int64_t bytes) {
  return static_cast<uint64_t>(bytes);
}

}  // namespace

int64_t bytes_of_a_row(const std::vector<MappedExperts>& stacks, int64_t per_row) {
  int64_t most = 0;
  for (const MappedExperts& each : stacks)
    most = std::max(most, std::min(per_row, each.experts) * each.bytes_each());
  return most;
}

ResidencyPlan plan_residency(const WeightMap& map, int64_t per_row, uint64_t budget) {
  // Far more than any memory, and sums with it do not overflow.
  constexpr uint64_t kMost = uint64_t{1} << 60;
  std::vector<GroupSize> sizes;
  for (const DenseGroup& group : map.groups)
    sizes.push_back({.layer = group.layer, .bytes = group.bytes});
  return plan_residency(sizes, bytes_of_experts(map), bytes_of_a_row(map.stacks, per_row),
                        static_cast<int64_t>(std::min(budget, kMost)));
}

Result<Residency> residency_of(const Program& program, const WeightSource& source,
                               const CompileOptions& options, const Footprint& held,
                               uint64_t available) {
  const std::vector<FusedStep> fused = fuse(program, options.disabled);
  DUNLIN_ASSIGN_OR_RETURN(const Weights weights,
                          Weights::lay_out(program, fused, source, options, nowhere()));
  const WeightMap map = map_weights(program, fused, weights);
  const int64_t per_row = experts_per_row(program);
  Residency residency;
  residency.unmapped_bytes = held.weights - weights.bytes();
  DUNLIN_ASSIGN_OR_RETURN(residency.budget_bytes,
                          budget_of(held, residency.unmapped_bytes, available));
  const ResidencyPlan plan = plan_residency(map, per_row, residency.budget_bytes);
  const ResidencyPlan nothing = plan_residency(map, per_row, 0);
  residency.least_bytes = unsigned_of(nothing.streaming_bytes + nothing.expert_room);
  residency.pinned_bytes = unsigned_of(plan.pinned_bytes);
  residency.streamed_bytes = unsigned_of(plan.streamed_bytes);
  residency.streaming_bytes = unsigned_of(plan.streaming_bytes);
  residency.expert_bytes = unsigned_of(bytes_of_experts(map));
  residency.expert_room_bytes = unsigned_of(plan.expert_room);
  for (size_t i = 0; i < map.groups.size(); ++i) {
    if (!map.groups[i].layer || map.groups[i].bytes == 0) continue;
    ++residency.layers;
    residency.pinned_layers += plan.pinned[i] ? 1 : 0;
  }
  return residency;
}

}  // namespace dunlin::cpu
