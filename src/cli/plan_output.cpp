// JSON with the names of the command line's contract, and the tables.
#include "cli/plan_output.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/plan_offload.h"
#include "report/svg_chart.h"
#include "report/table.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;
using Row = std::vector<std::string>;

Json mesh_json(const MeshShape& shape) {
  return {{"data", shape.data},     {"stage", shape.stage}, {"fsdp", shape.fsdp},
          {"expert", shape.expert}, {"width", shape.width}, {"model", shape.model}};
}

Json memory_json(const DeviceMemory& memory, int64_t capacity) {
  return {{"weights_bytes", memory.weights},
          {"kv_bytes", memory.kv},
          {"activation_bytes", memory.activations},
          {"workspace_bytes", memory.workspace},
          {"process_bytes", memory.process},
          {"total_bytes", memory.total()},
          {"capacity_bytes", capacity}};
}

Json roof_json(const StepTime& step) {
  return {{"compute_seconds", step.compute_seconds},
          {"memory_seconds", step.memory_seconds},
          {"interconnect_seconds", step.interconnect_seconds},
          {"disk_seconds", step.disk_seconds}};
}

// Rows that a phase of the prompts computes.
double prefill_rows(const Workload& workload) {
  const int64_t masks = workload.canvas ? workload.canvas->masks : 0;
  return static_cast<double>(workload.batch * (workload.prompt + masks));
}

Json prefill_json(const MeshEvaluation& mesh, const Workload& workload, const Device& device) {
  const double tokens = prefill_rows(workload);
  return {{"seconds", mesh.prefill.expected_seconds},
          {"best_seconds", mesh.prefill.best_seconds},
          {"tokens_per_second", tokens / mesh.prefill.expected_seconds},
          {"bound", bound_name(mesh.prefill.step.bound)},
          {"utilisation", mesh.prefill.step.compute_utilisation(device)},
          {"step", roof_json(mesh.prefill.step)}};
}

Json decode_json(const MeshEvaluation& mesh, int64_t batch, const Device& device) {
  const StepTime& step = mesh.decode.step;
  return {{"tokens_per_second", mesh.tokens_per_second},
          {"tokens_per_second_per_sequence", mesh.tokens_per_second / static_cast<double>(batch)},
          {"best_tokens_per_second", mesh.best_tokens_per_second},
          {"seconds", mesh.decode.expected_seconds},
          {"bound", bound_name(step.bound)},
          {"utilisation", step.memory_utilisation(device)},
          {"utilisation_weights_only", step.weights_only_utilisation(device)},
          {"compute_utilisation", step.compute_utilisation(device)},
          {"flops", step.flops},
          {"weight_bytes_read", step.weight_bytes},
          {"kv_bytes_read", step.kv_bytes},
          {"step", roof_json(step)}};
}

Json alternative_json(const Alternative& alternative) {
  Json object = {{"strategy", alternative.strategy},
                 {"possible", alternative.evaluation.has_value()}};
  if (!alternative.evaluation) {
    object["why_not"] = alternative.why_not;
    return object;
  }
  const MeshEvaluation& mesh = *alternative.evaluation;
  object["mesh"] = mesh_json(mesh.shape);
  object["fits"] = mesh.fits;
  object["total_bytes"] = mesh.memory.total();
  object["communication_bytes_per_step"] = mesh.decode.step.sent_bytes;
  object["communication_fixed_bytes"] = alternative.sent.fixed;
  object["communication_bytes_per_row"] = alternative.sent.per_row;
  object["tokens_per_second"] = mesh.tokens_per_second;
  object["cheapest"] = alternative.cheapest;
  return object;
}

Json slice_json(const std::optional<Slice>& slice) {
  if (!slice) return nullptr;
  return {{"name", slice->name()},
          {"devices", slice->devices},
          {"capacity_bytes", slice->device.memory_bytes}};
}

Json device_json(const Slice& slice) {
  const Device& device = slice.device;
  return {{"name", slice.name()},
          {"description", device.description},
          {"devices", slice.devices},
          {"memory_bytes", device.memory_bytes},
          {"memory_bytes_per_second", device.memory_bytes_per_second},
          {"bf16_flops", device.bf16_flops},
          {"efficiency", device.efficiency.origin}};
}

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

// How canvases are filled in; null for token after token.
Json canvases_json(const MeshEvaluation& mesh, const Workload& workload) {
  if (!workload.canvas) return nullptr;
  const CanvasWorkload& canvas = *workload.canvas;
  const auto tokens = static_cast<double>(workload.batch * canvas.masks);
  return {
      {"masks", canvas.masks},
      {"positions", workload.prompt + canvas.masks},
      {"steps", canvas.steps},
      {"cache", canvas.block == 0 ? "none" : (canvas.suffix ? "prefix" : "dual")},
      {"block_length", canvas.block > 0 ? Json(canvas.block) : Json(nullptr)},
      {"tokens_per_forward", static_cast<double>(canvas.masks) / static_cast<double>(canvas.steps)},
      {"pass_seconds", mesh.prefill.expected_seconds},
      {"step_seconds", mesh.decode.expected_seconds},
      {"answer_seconds", tokens / mesh.tokens_per_second},
      {"best_answer_seconds", tokens / mesh.best_tokens_per_second}};
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

std::optional<Cost> cost_of(const Plan& plan, const std::optional<double>& price) {
  if (!price) return std::nullopt;
  const double per_second = *price / 3600;
  return Cost{
      1e6 * per_second / plan.chosen.tokens_per_second,
      1e6 * per_second * plan.chosen.prefill.expected_seconds / prefill_rows(plan.workload)};
}

Json plan_json(const Plan& plan, const PlanHeading& heading) {
  const MeshEvaluation& mesh = plan.chosen;
  const Device& device = plan.slice.device;
  const Workload& workload = plan.workload;
  Json alternatives = Json::array();
  for (const Alternative& each : plan.alternatives) alternatives.push_back(alternative_json(each));
  Json flips = Json::array();
  for (const Flip& flip : plan.flips) {
    flips.push_back({{"from", flip.from}, {"to", flip.to}, {"rows", flip.rows}});
  }
  Json object = {{"schema_version", 1},
                 {"model", heading.model},
                 {"family", heading.family},
                 {"parameters", heading.parameters},
                 {"weights", heading.weights},
                 {"weights_assumed", heading.assumed},
                 {"kv", heading.kv},
                 {"device", device_json(plan.slice)},
                 {"batch", workload.batch},
                 {"context", workload.context},
                 {"prompt", workload.prompt},
                 {"fill", workload.fill},
                 {"fits", mesh.fits},
                 {"shortfall_bytes", plan.shortfall_bytes},
                 {"mesh", mesh_json(mesh.shape)},
                 {"strategy", plan.strategy},
                 {"per_device", memory_json(mesh.memory, device.memory_bytes)},
                 {"max_batch_per_device", plan.max_batch_per_device},
                 {"max_batch", plan.max_batch},
                 {"max_context", plan.max_context},
                 {"prefill", prefill_json(mesh, workload, device)},
                 {"decode", decode_json(mesh, workload.batch, device)},
                 {"canvas", canvases_json(mesh, workload)},
                 {"offload", offload_json(mesh)},
                 {"communication_bytes_per_step", mesh.decode.step.sent_bytes},
                 {"alternatives", alternatives},
                 {"flips", flips}};
  if (plan.shortfall_bytes > 0) {
    object["smallest_slice"] = slice_json(plan.smallest_slice);
    object["smallest_device"] = slice_json(plan.smallest_device);
  }
  if (const auto cost = cost_of(plan, heading.price)) {
    object["usd_per_million_tokens"] = {{"decoded", cost->decoded}, {"prompt", cost->prompt}};
  }
  return object;
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
