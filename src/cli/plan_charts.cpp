// Tokens per second over the batch, and memory over the context.
#include <fmt/format.h>

#include <algorithm>

#include "cli/chart_file.h"
#include "cli/plan_output.h"
#include "report/svg_chart.h"

namespace dunlin {
namespace {

std::string subtitle(const Plan& plan, const PlanHeading& heading) {
  return fmt::format("{} on {}, mesh {}, weights {}", heading.model, plan.slice.name(),
                     to_string(plan.chosen.shape), heading.weights);
}

// Batches 1, 2, 4 .. up to beyond what fits.
Result<Chart> speed_chart(const PlannedModel& model, const Machine& machine, const Plan& plan,
                          const PlanHeading& heading) {
  ChartSeries best{"best (roofline)", {}, true};
  ChartSeries expected{"expected", {}};
  ChartSeries each{"expected, of one sequence", {}};
  const int64_t most = std::max<int64_t>({plan.max_batch, plan.workload.batch, 16});
  Workload workload = plan.workload;
  for (int64_t batch = 1; batch < 2 * most && batch <= 65536; batch *= 2) {
    workload.batch = batch;
    DUNLIN_ASSIGN_OR_RETURN(const MeshEvaluation mesh,
                            evaluate_mesh(model, machine, plan.chosen.shape, workload));
    const auto x = static_cast<double>(batch);
    best.points.push_back({x, mesh.best_tokens_per_second});
    expected.points.push_back({x, mesh.tokens_per_second});
    each.points.push_back({x, mesh.tokens_per_second / x});
  }
  Chart chart{.title = fmt::format("Decoding at {} positions", workload.context),
              .subtitle = subtitle(plan, heading),
              .x = {"sequences at a time", ChartScale::log2},
              .y = {"tokens per second", ChartScale::log10},
              .series = {best, expected, each}};
  if (plan.max_batch > 0) {
    chart.upright.push_back(
        {fmt::format("memory holds {}", plan.max_batch), static_cast<double>(plan.max_batch)});
  }
  return chart;
}

// Contexts in powers of two up to what the model was trained for.
Result<Chart> memory_chart(const PlannedModel& model, const Machine& machine, const Plan& plan,
                           const PlanHeading& heading) {
  constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;
  ChartSeries weights{"weights", {}};
  ChartSeries kv{"KV cache", {}};
  ChartSeries others{"activations, workspace, process", {}};
  const Workload& workload = plan.workload;
  for (int64_t context = 512; context <= std::max<int64_t>(workload.max_context, 512);
       context *= 2) {
    const int64_t sequences = sequences_per_replica(plan.chosen.shape, workload.batch);
    DUNLIN_ASSIGN_OR_RETURN(
        const DeviceMemory memory,
        memory_of(model, machine, plan.chosen.shape, capacity_for(workload, sequences, context)));
    const auto x = static_cast<double>(context);
    const auto gibibytes = [](int64_t bytes) { return static_cast<double>(bytes) / kGiB; };
    weights.points.push_back({x, gibibytes(memory.weights)});
    kv.points.push_back({x, gibibytes(memory.kv)});
    others.points.push_back({x, gibibytes(memory.total() - memory.weights - memory.kv)});
  }
  const auto capacity = static_cast<double>(plan.slice.device.memory_bytes);
  return Chart{.title = fmt::format("Memory of a device, {} sequences", workload.batch),
               .subtitle = subtitle(plan, heading),
               .x = {"positions of a sequence", ChartScale::log2},
               .y = {"GiB", ChartScale::linear},
               .series = {weights, kv, others},
               .stacked = true,
               .across = {{fmt::format("capacity {}", bytes_text(capacity)), capacity / kGiB}}};
}

}  // namespace

Result<void> write_plan_charts(const PlannedModel& model, const Machine& machine, const Plan& plan,
                               const PlanHeading& heading, const std::string& folder) {
  DUNLIN_ASSIGN_OR_RETURN(const Chart speed, speed_chart(model, machine, plan, heading));
  DUNLIN_RETURN_IF_ERROR(write_chart(folder, "tokens_per_second.svg", svg_chart(speed)));
  DUNLIN_ASSIGN_OR_RETURN(const Chart memory, memory_chart(model, machine, plan, heading));
  return write_chart(folder, "memory.svg", svg_chart(memory));
}

}  // namespace dunlin
