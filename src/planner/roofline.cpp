// Sums per stage. The time of a collective is bytes over the bandwidth of its part of the grid, and
// at least a hop's latency for each step across it (Austin et al. 2025, chapter 3).
#include "planner/roofline.h"

#include <algorithm>

#include "program/sharding.h"

namespace dunlin {

namespace {

struct StageSum {
  StepTime time;
  double best_local = 0;  // sum of max(compute, memory)
  double expected_local = 0;
  double expected_sending = 0;
};

// Seconds of operations, one by one.
class Clockwork {
 public:
  Clockwork(const std::vector<NodeCost>& costs, const ShardedModel& sharded, const Device& device,
            RowClass row_class)
      : sharded_(sharded), device_(device), row_class_(row_class) {
    double read = 0;
    for (const NodeCost& cost : costs) read += cost.weight_bytes + cost.kv_bytes;
    bandwidth_ = device.cpu == nullptr ? device.memory_bytes_per_second
                                       : device.cpu->stream_bytes_per_second(read);
  }

  double compute(const NodeCost& cost) const { return cost.flops / device_.bf16_flops; }
  double memory(const NodeCost& cost) const {
    return (cost.weight_bytes + cost.kv_bytes) / bandwidth_;
  }
  double expected(const NodeCost& cost) const {
    if (device_.cpu != nullptr) return on_cpu(cost);
    const double share = row_class_ == RowClass::prompt ? device_.efficiency.compute : 1;
    return std::max(compute(cost) / share, memory(cost) / device_.efficiency.memory);
  }

 private:
  double on_cpu(const NodeCost& cost) const {
    const CpuRates& rates = *device_.cpu;
    const Op op = sharded_.model.program->nodes[static_cast<size_t>(cost.node)].op;
    if (op == Op::attention) {
      const double all_rows =
          cost.flops / rates.attention_flops + cost.scores * rates.prompt_score_seconds;
      const double one_row =
          memory(cost) / rates.kv_fraction + cost.row_scores * rates.generated_score_seconds;
      return rates.step_seconds + std::max(all_rows, one_row);
    }
    if (op == Op::rms_norm) return rates.step_seconds;
    if (cost.weight < 0) return 0;
    const FormatRates& format =
        rates.of(sharded_.model.storage[static_cast<size_t>(cost.weight)].name);
    const double flops =
        row_class_ == RowClass::prompt ? format.prompt_flops : format.generated_flops;
    return rates.step_seconds + cost.elements * rates.element_seconds +
           std::max(cost.flops / flops, memory(cost) / format.decode_fraction);
  }

  const ShardedModel& sharded_;
  const Device& device_;
  RowClass row_class_;
  double bandwidth_;
};

}  // namespace

const char* bound_name(Bound bound) {
  switch (bound) {
    case Bound::compute:
      return "compute";
    case Bound::memory:
      return "memory";
    case Bound::interconnect:
      return "interconnect";
    case Bound::disk:
      break;
  }
  return "disk";
}

double StepTime::memory_utilisation(const Device& device) const {
  if (expected_seconds <= 0) return 0;
  return (weight_bytes + kv_bytes) / expected_seconds / device.memory_bytes_per_second;
}

double StepTime::weights_only_utilisation(const Device& device) const {
  if (expected_seconds <= 0) return 0;
  return weight_bytes / expected_seconds / device.memory_bytes_per_second;
}

double StepTime::compute_utilisation(const Device& device) const {
  if (expected_seconds <= 0) return 0;
  return flops / expected_seconds / device.bf16_flops;
}

double collective_seconds(const Collective& collective, const Interconnect& interconnect,
                          double share) {
  // A message to the next stage has one link; an exchange of all with all crosses a ring of n
  // devices n / 4 times as often as a gather of the same bytes, and a switch once.
  const bool neighbours = collective.kind == CollectiveKind::send;
  const int64_t devices = neighbours ? 2 : collective.devices;
  const double bandwidth = collective_bandwidth(interconnect, devices);
  if (bandwidth <= 0) return 0;
  const bool crosses = collective.kind == CollectiveKind::all_to_all && interconnect.dimensions > 0;
  const double detour =
      crosses ? std::max(1.0, static_cast<double>(collective_hops(interconnect, devices)) / 4) : 1;
  const double passes = collective.kind == CollectiveKind::all_reduce ? 2 : 1;
  const double latency = passes * interconnect.hop_seconds *
                         static_cast<double>(collective_hops(interconnect, devices));
  return std::max(detour * collective.bytes / (bandwidth * share), latency);
}

StepTime step_time(const std::vector<NodeCost>& costs, const ShardedModel& sharded,
                   const Device& device, RowClass row_class) {
  const int64_t stages = sharded.mesh.size(MeshAxis::stage);
  const std::vector<int64_t> stage_of = node_stages(*sharded.model.program, stages);
  std::vector<StageSum> sums(static_cast<size_t>(stages));
  const Clockwork clockwork(costs, sharded, device, row_class);
  for (const NodeCost& cost : costs) {
    StageSum& sum = sums[static_cast<size_t>(stage_of[static_cast<size_t>(cost.node)])];
    const double compute = clockwork.compute(cost);
    const double memory = clockwork.memory(cost);
    sum.time.compute_seconds += compute;
    sum.time.memory_seconds += memory;
    sum.best_local += std::max(compute, memory);
    sum.expected_local += clockwork.expected(cost);
    sum.time.flops += cost.flops;
    sum.time.weight_bytes += cost.weight_bytes;
    const Op op = sharded.model.program->nodes[static_cast<size_t>(cost.node)].op;
    if (op == Op::experts) sum.time.expert_bytes += cost.weight_bytes;
    sum.time.kv_bytes += cost.kv_bytes;
    for (const Collective& collective : cost.collectives) {
      sum.time.interconnect_seconds += collective_seconds(collective, device.interconnect);
      sum.expected_sending +=
          collective_seconds(collective, device.interconnect, device.efficiency.interconnect);
      sum.time.sent_bytes += collective.bytes;
    }
  }
  for (StageSum& sum : sums) {
    sum.time.best_seconds = std::max(sum.best_local, sum.time.interconnect_seconds);
    sum.time.expected_seconds = sum.expected_local + sum.expected_sending;
  }
  StepTime slowest = std::ranges::max_element(sums, {}, [](const StageSum& sum) {
                       return sum.time.expected_seconds;
                     })->time;
  // The last stage sends nothing on; what a device sends is said of one that does.
  for (const StageSum& sum : sums) {
    slowest.sent_bytes = std::max(slowest.sent_bytes, sum.time.sent_bytes);
  }
  const auto times = static_cast<double>(stages);
  for (double* each :
       {&slowest.compute_seconds, &slowest.memory_seconds, &slowest.interconnect_seconds,
        &slowest.best_seconds, &slowest.expected_seconds, &slowest.flops, &slowest.weight_bytes,
        &slowest.expert_bytes, &slowest.kv_bytes, &slowest.sent_bytes}) {
    *each *= times;
  }
  slowest.bound = Bound::interconnect;
  if (slowest.memory_seconds >= slowest.interconnect_seconds) slowest.bound = Bound::memory;
  if (slowest.compute_seconds >= std::max(slowest.memory_seconds, slowest.interconnect_seconds)) {
    slowest.bound = Bound::compute;
  }
  return slowest;
}

}  // namespace dunlin
