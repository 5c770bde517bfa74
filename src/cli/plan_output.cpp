// A plan as tables.
#include "cli/plan_output.h"

#include <fmt/format.h>

#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "cli/plan_offload.h"
#include "report/svg_chart.h"
#include "report/table.h"

namespace dunlin {
namespace {

using Row = std::vector<std::string>;

std::string percent(double share) {
  return fmt::format("{:.0f} %", 100 * share);
}

std::string rate_text(double rate) {
  return rate >= 100 ? fmt::format("{:.0f}", rate) : fmt::format("{:.3g}", rate);
}

std::string memory_table(const Plan& plan) {
  const DeviceMemory& memory = plan.chosen.memory;
  const int64_t capacity = plan.slice.device.memory_bytes;
  const auto row = [&](const char* name, int64_t bytes) {
    return Row{name, bytes_text(static_cast<double>(bytes)),
               percent(static_cast<double>(bytes) / static_cast<double>(capacity))};
  };
  const bool paged = plan.chosen.paging.has_value();
  std::vector<Row> rows = {row(paged ? "weights held" : "weights", memory.weights),
                           row("KV cache", memory.kv), row("activations", memory.activations),
                           row("workspace", memory.workspace)};
  if (memory.process > 0) rows.push_back(row("process", memory.process));
  rows.push_back(row("total", memory.total()));
  rows.push_back({"capacity", bytes_text(static_cast<double>(capacity)), ""});
  const std::vector<TableColumn> columns = {
      {"per device", false, 11}, {"bytes", true, 10}, {"share", true, 6}};
  return aligned_table(columns, rows);
}

std::string fit_text(const Plan& plan) {
  const std::string most = fmt::format(
      "largest batch at {} positions: {} ({} per device); longest context for {}: {}\n",
      plan.workload.context, plan.max_batch, plan.max_batch_per_device,
      plan.workload.batch == 1 ? "one sequence" : fmt::format("{} sequences", plan.workload.batch),
      plan.max_context);
  if (plan.shortfall_bytes == 0) return "it fits\n" + most;
  std::string text = fmt::format("IT DOES NOT FIT: each device lacks {}\n",
                                 bytes_text(static_cast<double>(plan.shortfall_bytes))) +
                     most;
  const auto hold = [](const std::optional<Slice>& slice) {
    return slice ? slice->name() : std::string("none");
  };
  text += fmt::format("smallest {} slice that holds it: {}\n", plan.slice.device.name,
                      hold(plan.smallest_slice));
  text += fmt::format("smallest of the catalogue that holds it: {}\n", hold(plan.smallest_device));
  if (plan.slice.device.cpu != nullptr && !plan.chosen.paging)
    text += "--offload auto plans it with weights that are read from disk\n";
  return text;
}

std::string canvases_text(const Plan& plan) {
  const Workload& workload = plan.workload;
  const CanvasWorkload& canvas = *workload.canvas;
  const auto tokens = static_cast<double>(workload.batch * canvas.masks);
  return fmt::format(
      "{} masks behind {} tokens, {} passes ({:.2f} tokens per forward){}: an answer in {}, {} "
      "tokens/s each\n",
      canvas.masks, workload.prompt, canvas.steps,
      static_cast<double>(canvas.masks) / static_cast<double>(canvas.steps),
      canvas.block > 0 ? fmt::format(", {} cache with blocks of {}",
                                     canvas.suffix ? "prefix" : "dual", canvas.block)
                       : std::string(),
      seconds_text(tokens / plan.chosen.tokens_per_second),
      rate_text(plan.chosen.tokens_per_second / static_cast<double>(workload.batch)));
}

std::string speed_table(const Plan& plan) {
  const Device& device = plan.slice.device;
  const MeshEvaluation& mesh = plan.chosen;
  const StepTime& prompt = mesh.prefill.step;
  const StepTime& token = mesh.decode.step;
  const Workload& workload = plan.workload;
  const auto prompts = static_cast<double>(workload.batch * workload.prompt);
  const std::vector<TableColumn> columns = {
      {"phase"}, {"best", true, 8}, {"expected", true, 8}, {"tokens/s", true, 8},
      {"bound"}, {"compute", true}, {"memory", true},      {"links", true}};
  const auto row = [](const std::string& name, const Phase& phase, double rate) {
    return Row{name,
               seconds_text(phase.best_seconds),
               seconds_text(phase.expected_seconds),
               rate_text(rate),
               bound_name(phase.step.bound),
               seconds_text(phase.step.compute_seconds),
               seconds_text(phase.step.memory_seconds),
               seconds_text(phase.step.interconnect_seconds)};
  };
  if (workload.canvas) {
    const int64_t positions = workload.prompt + workload.canvas->masks;
    const std::vector<Row> passes = {
        row(fmt::format("pass over {} x {}", workload.batch, positions), mesh.prefill,
            static_cast<double>(workload.batch * positions) / mesh.prefill.expected_seconds),
        row(fmt::format("step of {} canvases", workload.batch), mesh.decode,
            mesh.tokens_per_second)};
    return aligned_table(columns, passes) + canvases_text(plan);
  }
  const std::vector<Row> rows = {
      row(fmt::format("prefill of {} x {}", workload.batch, workload.prompt), mesh.prefill,
          prompts / mesh.prefill.expected_seconds),
      row(fmt::format("decode step of {}", workload.batch), mesh.decode, mesh.tokens_per_second)};
  return aligned_table(columns, rows) +
         fmt::format(
             "decode: {} tokens/s for each sequence; memory bandwidth used {} with KV, {} "
             "weights only; prefill uses {} of the peak\n",
             rate_text(1 / mesh.decode.expected_seconds), percent(token.memory_utilisation(device)),
             percent(token.weights_only_utilisation(device)),
             percent(prompt.compute_utilisation(device)));
}

std::string alternatives_table(const Plan& plan) {
  const std::vector<TableColumn> columns = {
      {"parallelism"},    {"mesh"}, {"sent/step", true}, {"memory", true}, {"fits"},
      {"tokens/s", true}, {""}};
  std::vector<Row> rows;
  for (const Alternative& each : plan.alternatives) {
    if (!each.evaluation) {
      rows.push_back({each.strategy, "-", "-", "-", "-", "-", each.why_not});
      continue;
    }
    const MeshEvaluation& mesh = *each.evaluation;
    rows.push_back({each.strategy, to_string(mesh.shape), bytes_text(mesh.decode.step.sent_bytes),
                    bytes_text(static_cast<double>(mesh.memory.total())), mesh.fits ? "yes" : "no",
                    rate_text(mesh.tokens_per_second), each.cheapest ? "<- sends least" : ""});
  }
  std::string text = "\n" + aligned_table(columns, rows);
  for (const Flip& flip : plan.flips) {
    text += fmt::format("{} sends less than {} from {:.0f} rows of a step on\n", flip.to, flip.from,
                        flip.rows);
  }
  return text;
}

}  // namespace

std::string bytes_text(double bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (bytes >= 1023.5 && unit + 1 < std::size(kUnits)) {
    bytes /= 1024;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", bytes, unit == 0 || bytes >= 100 ? 0 : 2, kUnits[unit]);
}

std::string seconds_text(double seconds) {
  if (seconds >= 1) return fmt::format("{:.3g} s", seconds);
  if (seconds >= 1e-3) return fmt::format("{:.3g} ms", seconds * 1e3);
  return fmt::format("{:.3g} us", seconds * 1e6);
}

double prefill_rows(const Workload& workload) {
  const int64_t masks = workload.canvas ? workload.canvas->masks : 0;
  return static_cast<double>(workload.batch * (workload.prompt + masks));
}

std::optional<Cost> cost_of(const Plan& plan, const std::optional<double>& price) {
  if (!price) return std::nullopt;
  const double per_second = *price / 3600;
  return Cost{
      1e6 * per_second / plan.chosen.tokens_per_second,
      1e6 * per_second * plan.chosen.prefill.expected_seconds / prefill_rows(plan.workload)};
}

std::string plan_text(const Plan& plan, const PlanHeading& heading) {
  const Device& device = plan.slice.device;
  std::string text;
  text += fmt::format("model    {} ({}, {} parameters)\n", heading.model, heading.family,
                      short_number(static_cast<double>(heading.parameters)));
  text += fmt::format("weights  {}{}; KV cache {}\n", heading.weights,
                      heading.assumed ? " (assumed: no weights are there)" : "", heading.kv);
  text += fmt::format("device   {}: {} x {}\n", plan.slice.name(), plan.slice.devices,
                      device.description);
  text += fmt::format("         {}B/s of memory, {}FLOP/s each; efficiency {}\n",
                      short_number(device.memory_bytes_per_second), short_number(device.bf16_flops),
                      device.efficiency.origin);
  if (plan.slice.devices > 1) {
    text += fmt::format("mesh     {} ({})\n", to_string(plan.chosen.shape), plan.strategy);
  }
  text += "\n" + memory_table(plan) + fit_text(plan) + offload_text(plan, heading) + "\n" +
          speed_table(plan);
  if (!plan.alternatives.empty()) text += alternatives_table(plan);
  if (const auto cost = cost_of(plan, heading.price)) {
    text += fmt::format("\ncost: {:.3g} USD per million tokens decoded, {:.3g} USD of prompts\n",
                        cost->decoded, cost->prompt);
  }
  return text;
}

}  // namespace dunlin
