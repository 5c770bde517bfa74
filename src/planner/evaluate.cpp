// Steps of both phases, and searches over what fits.
#include "planner/evaluate.h"

#include <algorithm>

#include "program/sharding.h"

namespace dunlin {

namespace {

Capacity capacity_of(const MeshShape& shape, const Workload& workload) {
  return capacity_for(workload, sequences_per_replica(shape, workload.batch), workload.context);
}

// Times the steps of one mesh.
struct Stopwatch {
  const ShardedModel& sharded;
  const Device& device;
  const std::optional<Paging>& paging;

  StepTime time(const StepShape& step) const {
    StepTime taken = step_time(walk(sharded, step), sharded, device, step.row_class);
    if (paging) add_paging(*paging, taken);
    return taken;
  }
};

// `steps` of these, one after the other. A pipeline works on `stages` steps at once; filling it costs
// stages - 1 more.
Phase repeated(const Stopwatch& stopwatch, const MeshShape& shape, const StepShape& step,
               double steps) {
  Phase phase;
  phase.step = stopwatch.time(step);
  phase.steps = steps;
  const auto stages = static_cast<double>(shape.stage);
  const double turns = (steps + stages - 1) / stages;
  phase.best_seconds = turns * phase.step.best_seconds;
  phase.expected_seconds = turns * phase.step.expected_seconds;
  return phase;
}

// As many whole prompts as a step has rows for, or a part of one.
Phase prefill(const Stopwatch& stopwatch, const MeshShape& shape, const Workload& workload) {
  const int64_t sequences = sequences_per_replica(shape, workload.batch);
  StepShape step;
  step.rows_each = std::min(workload.prompt, workload.chunk);
  step.sequences = std::clamp<int64_t>(workload.chunk / step.rows_each, 1, sequences);
  step.logit_rows = workload.all_logits ? step.rows() : step.sequences;
  // Chunks of a prompt find from nothing to all but themselves in the cache.
  step.cached = static_cast<double>(workload.prompt - step.rows_each) / 2;
  step.row_class = RowClass::prompt;
  const double steps = static_cast<double>(sequences) * static_cast<double>(workload.prompt) /
                       static_cast<double>(step.rows());
  return repeated(stopwatch, shape, step, steps);
}

// A pass over `rows` positions of every canvas of the replica, the others cached.
Phase canvas_pass(const Stopwatch& stopwatch, const MeshShape& shape, const Workload& workload,
                  int64_t rows, int64_t logit_rows) {
  const int64_t sequences = sequences_per_replica(shape, workload.batch);
  const int64_t positions = workload.prompt + workload.canvas->masks;
  StepShape step;
  step.rows_each = rows;
  step.sequences = std::clamp<int64_t>(
      capacity_for(workload, sequences, workload.context).rows / rows, 1, sequences);
  step.logit_rows = step.sequences * (workload.all_logits ? rows : logit_rows);
  step.cached = static_cast<double>(positions - rows);
  step.row_class = rows == positions ? RowClass::prompt : RowClass::generated;
  const double steps = static_cast<double>(sequences) / static_cast<double>(step.sequences);
  return repeated(stopwatch, shape, step, steps);
}

void evaluate_canvases(const Stopwatch& stopwatch, const Workload& workload,
                       MeshEvaluation& result) {
  const CanvasWorkload& canvas = *workload.canvas;
  const int64_t positions = workload.prompt + canvas.masks;
  const int64_t masks = canvas.block > 0 ? std::min(canvas.block, canvas.masks) : canvas.masks;
  int64_t rows = canvas.block > 0 ? masks : positions;
  if (canvas.block > 0 && canvas.suffix) rows = (canvas.masks + masks) / 2;  // on average
  result.prefill = canvas_pass(stopwatch, result.shape, workload, positions, canvas.masks);
  result.decode = canvas_pass(stopwatch, result.shape, workload, rows, (masks + 1) / 2);
  const auto opening = static_cast<double>(canvas.blocks());
  const double others = std::max(0.0, static_cast<double>(canvas.steps) - opening);
  const auto tokens = static_cast<double>(workload.batch * canvas.masks);
  result.tokens_per_second = tokens / (opening * result.prefill.expected_seconds +
                                       others * result.decode.expected_seconds);
  result.best_tokens_per_second =
      tokens / (opening * result.prefill.best_seconds + others * result.decode.best_seconds);
}

Phase decode(const Stopwatch& stopwatch, const MeshShape& shape, const Workload& workload) {
  const int64_t sequences = sequences_per_replica(shape, workload.batch);
  StepShape step;
  step.sequences = (sequences + shape.stage - 1) / shape.stage;
  step.logit_rows = step.sequences;
  step.cached = std::max(0.0, workload.fill * static_cast<double>(workload.context) - 1);
  Phase phase;
  phase.step = stopwatch.time(step);
  phase.best_seconds = phase.step.best_seconds;
  phase.expected_seconds = phase.step.expected_seconds;
  return phase;
}

// The largest value in [1, most] whose memory fits. An error of the first call is returned; `fits`
// is not called again after an error.
Result<int64_t> search(int64_t most, const std::function<Result<DeviceMemory>(int64_t)>& memory,
                       int64_t capacity) {
  std::optional<Error> failed;
  const int64_t largest = largest_fitting(most, [&](int64_t value) {
    if (failed) return false;
    const auto result = memory(value);
    if (!result.ok()) failed = result.error();
    return result.ok() && result->total() <= capacity;
  });
  // What is too large for a size is too large for the device.
  if (failed && failed->kind != ErrorKind::does_not_fit) return *failed;
  return largest;
}

}  // namespace

Capacity capacity_for(const Workload& workload, int64_t sequences, int64_t context) {
  Capacity capacity{
      .sequences = sequences, .context = context, .rows = std::min(workload.chunk, context)};
  if (!workload.canvas) return capacity;
  capacity.rows = std::min(std::max(workload.chunk, context), context * sequences);
  const int64_t masks = std::min(workload.canvas->masks, context) * sequences;
  capacity.logit_rows = workload.all_logits ? capacity.rows : std::min(masks, capacity.rows);
  return capacity;
}

int64_t replicas(const MeshShape& shape) {
  return shape.data * shape.fsdp * shape.expert;
}

int64_t sequences_per_replica(const MeshShape& shape, int64_t batch) {
  return (batch + replicas(shape) - 1) / replicas(shape);
}

Result<DeviceMemory> memory_of(const PlannedModel& model, const Machine& machine,
                               const MeshShape& shape, const Capacity& capacity) {
  if (machine.memory) return machine.memory(capacity);
  DUNLIN_ASSIGN_OR_RETURN(const Mesh mesh, device_mesh(*model.program, shape));
  return accelerator_memory({model, mesh}, capacity);
}

Result<MeshEvaluation> evaluate_mesh(const PlannedModel& model, const Machine& machine,
                                     const MeshShape& shape, const Workload& workload) {
  MeshEvaluation result;
  result.shape = shape;
  DUNLIN_ASSIGN_OR_RETURN(result.mesh, device_mesh(*model.program, shape));
  DUNLIN_ASSIGN_OR_RETURN(result.memory,
                          memory_of(model, machine, shape, capacity_of(shape, workload)));
  const Device& device = machine.slice.device;
  result.fits = result.memory.total() <= device.memory_bytes;
  if (machine.residency) {
    DUNLIN_ASSIGN_OR_RETURN(const Residency residency,
                            machine.residency(capacity_of(shape, workload)));
    result.paging = Paging{residency, machine.disk_bytes_per_second};
  }
  const ShardedModel sharded{model, result.mesh};
  const Stopwatch stopwatch{sharded, device, result.paging};
  if (workload.canvas) {
    evaluate_canvases(stopwatch, workload, result);
    return result;
  }
  result.prefill = prefill(stopwatch, shape, workload);
  result.decode = decode(stopwatch, shape, workload);
  const auto batch = static_cast<double>(workload.batch);
  if (result.decode.expected_seconds > 0) {
    result.tokens_per_second = batch / result.decode.expected_seconds;
    result.best_tokens_per_second = batch / result.decode.best_seconds;
  }
  return result;
}

Result<int64_t> largest_batch(const PlannedModel& model, const Machine& machine,
                              const MeshShape& shape, const Workload& workload) {
  const auto memory = [&](int64_t sequences) {
    return memory_of(model, machine, shape, capacity_for(workload, sequences, workload.context));
  };
  DUNLIN_ASSIGN_OR_RETURN(const int64_t sequences, search(machine.most_sequences, memory,
                                                          machine.slice.device.memory_bytes));
  return sequences * replicas(shape);
}

Result<int64_t> largest_context(const PlannedModel& model, const Machine& machine,
                                const MeshShape& shape, const Workload& workload) {
  const int64_t sequences = sequences_per_replica(shape, workload.batch);
  const auto memory = [&](int64_t context) {
    return memory_of(model, machine, shape, capacity_for(workload, sequences, context));
  };
  return search(workload.max_context, memory, machine.slice.device.memory_bytes);
}

}  // namespace dunlin
