// A plan as JSON, with the names of the command line's contract.
#include <cstdint>
#include <optional>

#include "cli/plan_offload.h"
#include "cli/plan_output.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;

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

}  // namespace

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

}  // namespace dunlin
