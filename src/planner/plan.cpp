// Choice of the mesh, comparison of the strategies, and what would hold a model that does not fit.
#include "planner/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "program/sharding.h"

namespace dunlin {

namespace {

// Better first.
bool is_better(const MeshEvaluation& a, const MeshEvaluation& b) {
  if (a.fits != b.fits) return a.fits;
  if (!a.fits && a.memory.total() != b.memory.total()) {
    return a.memory.total() < b.memory.total();
  }
  const auto key = [](const MeshEvaluation& each) {
    return std::tuple(-each.tokens_per_second, each.decode.step.sent_bytes, each.shape.width,
                      each.shape.stage, each.shape.model);
  };
  return key(a) < key(b);
}

Result<MeshEvaluation> choose(const PlannedModel& model, const Machine& machine,
                              const Workload& workload) {
  std::optional<MeshEvaluation> best;
  for (const MeshShape& shape : possible_meshes(*model.program, machine.slice.devices)) {
    DUNLIN_ASSIGN_OR_RETURN(MeshEvaluation candidate,
                            evaluate_mesh(model, machine, shape, workload));
    if (!best || is_better(candidate, *best)) best = std::move(candidate);
  }
  if (!best) {
    return usage_error(
        fmt::format("no mesh of {} devices splits this model evenly", machine.slice.devices));
  }
  return *best;
}

// fixed + per_row T through what steps of one and of 1025 rows send: an affine function of the rows.
SentBytes sent_by(const PlannedModel& model, const MeshShape& shape, const Mesh& mesh) {
  const ShardedModel sharded{model, mesh};
  const auto sent = [&](int64_t rows) {
    double bytes = 0;
    StepShape step{.sequences = rows, .rows_each = 1, .logit_rows = rows};
    for (const NodeCost& cost : walk(sharded, step)) {
      for (const Collective& collective : cost.collectives) bytes += collective.bytes;
    }
    return bytes;
  };
  constexpr int64_t kRows = 1024;
  const double one = sent(1);
  const double per_row = (sent(1 + kRows) - one) / static_cast<double>(kRows);
  const auto share = static_cast<double>(replicas(shape));
  // Rows of the whole step, of which a replica has its share.
  return {std::max(0.0, one - per_row), per_row / share};
}

Alternative compare(const PlannedModel& model, const Machine& machine, const Strategy& strategy,
                    const Workload& workload) {
  Alternative alternative{
      .strategy = strategy.name, .description = strategy.description, .why_not = strategy.why_not};
  for (const MeshShape& shape : strategy.meshes) {
    auto evaluation = evaluate_mesh(model, machine, shape, workload);
    if (!evaluation.ok()) continue;
    const double least =
        alternative.evaluation ? alternative.evaluation->decode.step.sent_bytes : INFINITY;
    if (evaluation->decode.step.sent_bytes >= least) continue;
    alternative.sent = sent_by(model, shape, evaluation->mesh);
    alternative.evaluation = std::move(evaluation).value();
  }
  return alternative;
}

void mark_cheapest(std::vector<Alternative>& alternatives) {
  Alternative* cheapest = nullptr;
  for (Alternative& each : alternatives) {
    if (!each.evaluation || !each.evaluation->fits) continue;
    const bool less = cheapest == nullptr || each.evaluation->decode.step.sent_bytes <
                                                 cheapest->evaluation->decode.step.sent_bytes;
    if (less) cheapest = &each;
  }
  if (cheapest != nullptr) cheapest->cheapest = true;
}

// Between tensor parallelism and FSDP, which both split the weights over all devices.
std::vector<Flip> find_flips(const std::vector<Alternative>& alternatives) {
  std::vector<Flip> flips;
  for (const Alternative& from : alternatives) {
    if (!from.evaluation || !from.strategy.starts_with("tp")) continue;
    for (const Alternative& to : alternatives) {
      if (!to.evaluation || (to.strategy != "fsdp" && to.strategy != "tp2")) continue;
      const auto rows = flip_rows(from.sent, to.sent);
      if (rows) flips.push_back({from.strategy, to.strategy, *rows});
    }
  }
  return flips;
}

// A bound that saves most of the search: even spread evenly, the weights are too large.
bool is_hopeless(const PlannedModel& model, const Slice& slice) {
  const Mesh whole;
  int64_t weights = 0;
  for (size_t i = 0; i < model.storage.size(); ++i) {
    weights += resting_bytes({model, whole}, static_cast<WeightId>(i));
  }
  return weights / slice.devices > slice.device.memory_bytes;
}

std::optional<Slice> smallest_slice(const PlannedModel& model, const Device& device,
                                    const Workload& workload) {
  for (const int64_t devices : device.slices) {
    const Slice slice{device, devices};
    if (fits_slice(model, slice, workload)) return slice;
  }
  return std::nullopt;
}

std::optional<Slice> smallest_of_catalogue(const PlannedModel& model, const Workload& workload) {
  std::optional<Slice> smallest;
  const auto memory = [](const Slice& slice) { return slice.devices * slice.device.memory_bytes; };
  for (const Device& device : device_catalogue()) {
    const auto slice = smallest_slice(model, device, workload);
    if (slice && (!smallest || memory(*slice) < memory(*smallest))) smallest = slice;
  }
  return smallest;
}

}  // namespace

bool fits_slice(const PlannedModel& model, const Slice& slice, const Workload& workload) {
  if (is_hopeless(model, slice)) return false;
  const Machine machine{slice, {}};
  const auto shapes = possible_meshes(*model.program, slice.devices);
  return std::ranges::any_of(shapes, [&](const MeshShape& shape) {
    const int64_t sequences = sequences_per_replica(shape, workload.batch);
    const auto memory =
        memory_of(model, machine, shape, capacity_for(workload, sequences, workload.context));
    return memory.ok() && memory->total() <= slice.device.memory_bytes;
  });
}

Result<Plan> make_plan(const PlannedModel& model, const Machine& machine,
                       const std::optional<MeshShape>& mesh, const Workload& workload) {
  const int64_t devices = machine.slice.devices;
  if (mesh && mesh->devices() != devices) {
    return usage_error(fmt::format("mesh {} has {} devices, but {} has {}", to_string(*mesh),
                                   mesh->devices(), machine.slice.name(), devices));
  }
  Plan plan{.slice = machine.slice, .workload = workload, .chosen = {}, .strategy = {}};
  if (mesh) {
    DUNLIN_ASSIGN_OR_RETURN(plan.chosen, evaluate_mesh(model, machine, *mesh, workload));
  } else {
    DUNLIN_ASSIGN_OR_RETURN(plan.chosen, choose(model, machine, workload));
  }
  const MeshShape& shape = plan.chosen.shape;
  plan.strategy = strategy_name(shape);
  const int64_t missing = plan.chosen.memory.total() - machine.slice.device.memory_bytes;
  plan.shortfall_bytes = std::max<int64_t>(0, missing);
  DUNLIN_ASSIGN_OR_RETURN(plan.max_batch, largest_batch(model, machine, shape, workload));
  DUNLIN_ASSIGN_OR_RETURN(plan.max_context, largest_context(model, machine, shape, workload));
  plan.max_batch_per_device = plan.max_batch / replicas(shape);
  if (devices > 1) {
    for (const Strategy& strategy : strategies(*model.program, devices)) {
      plan.alternatives.push_back(compare(model, machine, strategy, workload));
    }
    mark_cheapest(plan.alternatives);
    plan.flips = find_flips(plan.alternatives);
  }
  if (plan.shortfall_bytes > 0) {
    plan.smallest_slice = smallest_slice(model, machine.slice.device, workload);
    plan.smallest_device = smallest_of_catalogue(model, workload);
  }
  return plan;
}

}  // namespace dunlin
