#include "backend/cpu/step_recorder.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "backend/cpu/memory_plan.h"
#include "backend/cpu/select.h"
#include "base/steady_clock.h"

namespace dunlin::cpu {

namespace {

template <typename T>
void add_once(std::vector<T>& list, const T& item) {
  if (std::ranges::find(list, item) == list.end()) list.push_back(item);
}

ProfiledStep describe(const Binding& binding, const FusedStep& fused, const BoundStep& step) {
  const Program& program = binding.program;
  ProfiledStep described{.operation = step_name(binding, fused),
                         .name = binding.node(fused.node).name,
                         .kernels = step.kernels()};
  for (const int32_t number : fused.nodes()) {
    const Node& node = binding.node(number);
    described.nodes.push_back(node.name);
    for (const ValueId id : node.operands) {
      if (!is_weight(program, id)) continue;
      const auto weight = static_cast<size_t>(program.values[static_cast<size_t>(id)].weight);
      add_once(described.weights, program.weights[weight].name);
    }
  }
  return described;
}

// Values that its nodes pass to each other count once: they are written, and read from a cache.
std::vector<ValueType> moved_values(const Binding& binding, const FusedStep& fused) {
  std::vector<ValueId> ids;
  for (const int32_t number : fused.nodes()) {
    const Node& node = binding.node(number);
    for (const ValueId id : node.operands) {
      if (!is_weight(binding.program, id)) add_once(ids, id);
    }
    for (const ValueId id : node.results) add_once(ids, id);
  }
  std::vector<ValueType> types;
  for (const ValueId id : ids) types.push_back(binding.program.type(id));
  return types;
}

ProfiledRun begun_run(const StepPlan& plan) noexcept {
  ProfiledRun run{.begin_ns = steady_nanoseconds(), .rows = plan.rows()};
  for (const Segment& segment : plan.segments) {
    run.prompt = run.prompt || segment.row_class == RowClass::prompt;
    run.generated = run.generated || segment.row_class == RowClass::generated;
  }
  return run;
}

}  // namespace

StepRecorder::StepRecorder(const Binding& binding, std::span<const FusedStep> fused,
                           std::span<const std::unique_ptr<BoundStep>> steps, int threads,
                           Profile& profile)
    : steps_(steps), lanes_(static_cast<size_t>(threads)), profile_(&profile) {
  std::vector<ProfiledStep> described;
  for (size_t i = 0; i < steps.size(); ++i) {
    described.push_back(describe(binding, fused[i], *steps[i]));
    moved_.push_back(moved_values(binding, fused[i]));
  }
  profile.describe(std::move(described));
}

void StepRecorder::run(const RunContext& context) noexcept {
  if (!profile_->begin_run(begun_run(context.plan), steps_.size() * lanes_.size())) {
    for (const std::unique_ptr<BoundStep>& step : steps_) step->run(context);
    return;
  }
  for (size_t i = 0; i < steps_.size(); ++i) run_step(i, context);
  profile_->end_run(steady_nanoseconds());
}

void StepRecorder::run_step(size_t step, const RunContext& context) noexcept {
  std::ranges::fill(lanes_, Lane{});
  const int64_t begin = steady_nanoseconds();
  steps_[step]->run(context);
  const int64_t end = steady_nanoseconds();
  const std::optional<StepWork> known = steps_[step]->work(context);
  const StepWork work = known ? *known : StepWork{.bytes = moved_bytes(step, context)};
  ProfileEvent event{.run = static_cast<int32_t>(profile_->runs().size() - 1),
                     .step = static_cast<int32_t>(step),
                     .begin_ns = begin,
                     .end_ns = end,
                     .busy_ns = end - begin,
                     .bytes = work.bytes,
                     .flops = work.flops};
  profile_->add(event);
  event.bytes = 0;
  event.flops = 0;
  for (size_t worker = 1; worker < lanes_.size(); ++worker) {
    const Lane& lane = lanes_[worker];
    if (lane.begin_ns == 0) continue;
    event.worker = static_cast<int32_t>(worker);
    event.begin_ns = lane.begin_ns;
    event.end_ns = lane.end_ns;
    event.busy_ns = lane.busy_ns;
    profile_->add(event);
  }
}

double StepRecorder::moved_bytes(size_t step, const RunContext& context) const noexcept {
  int64_t bytes = 0;
  for (const ValueType& type : moved_[step])
    bytes += element_count(type.dims, context.sizes()) * dtype_bytes(type.dtype);
  return static_cast<double>(bytes);
}

// A step can have several loops.
void StepRecorder::worked(int worker, int64_t begin_ns, int64_t end_ns) noexcept {
  Lane& lane = lanes_[static_cast<size_t>(worker)];
  if (lane.begin_ns == 0) lane.begin_ns = begin_ns;
  lane.end_ns = end_ns;
  lane.busy_ns += end_ns - begin_ns;
}

}  // namespace dunlin::cpu
