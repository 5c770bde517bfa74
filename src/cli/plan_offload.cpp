#include "cli/plan_offload.h"

#include <fmt/format.h>

#include <cstdint>
#include <vector>

#include "report/table.h"

namespace dunlin {
namespace {

std::string text_of(uint64_t bytes) {
  return bytes_text(static_cast<double>(bytes));
}

std::string residency_table(const Residency& residency) {
  std::vector<std::vector<std::string>> rows = {
      {"stays", text_of(residency.pinned_bytes),
       fmt::format("{} of {} layers", residency.pinned_layers, residency.layers)}};
  if (residency.streamed_bytes > 0) {
    rows.push_back({"does not", text_of(residency.streamed_bytes),
                    fmt::format("{} at a time", text_of(residency.streaming_bytes))});
  }
  if (residency.expert_bytes > 0) {
    rows.push_back({"experts", text_of(residency.expert_bytes),
                    fmt::format("room for {}", text_of(residency.expert_room_bytes))});
  }
  const std::vector<TableColumn> columns = {
      {"offload", false, 11}, {"bytes", true, 10}, {"in memory"}};
  return aligned_table(columns, rows);
}

}  // namespace

nlohmann::ordered_json offload_json(const MeshEvaluation& mesh) {
  using Json = nlohmann::ordered_json;
  if (!mesh.paging) return nullptr;
  const Residency& residency = mesh.paging->residency;
  const StepTime& step = mesh.decode.step;
  const bool timed = mesh.paging->bytes_per_second > 0;
  return {{"budget_bytes", residency.budget_bytes},
          {"least_bytes", residency.least_bytes},
          {"held_bytes", residency.held_bytes()},
          {"pinned_bytes", residency.pinned_bytes},
          {"pinned_layers", residency.pinned_layers},
          {"layers", residency.layers},
          {"streamed_bytes", residency.streamed_bytes},
          {"streaming_bytes", residency.streaming_bytes},
          {"expert_bytes", residency.expert_bytes},
          {"expert_room_bytes", residency.expert_room_bytes},
          {"disk_bytes_per_second", timed ? Json(mesh.paging->bytes_per_second) : Json(nullptr)},
          {"disk_bytes_per_step", step.disk_bytes},
          {"disk_seconds_per_step", timed ? Json(step.disk_seconds) : Json(nullptr)},
          {"best_seconds_per_step", mesh.decode.best_seconds}};
}

std::string offload_text(const Plan& plan, const PlanHeading& heading) {
  if (!plan.chosen.paging) return "";
  const Paging& paging = *plan.chosen.paging;
  const Phase& decode = plan.chosen.decode;
  std::string text = "\n";
  text += residency_table(paging.residency);
  text +=
      fmt::format("budget of the weights: {}; at the least they take {}\n",
                  text_of(paging.residency.budget_bytes), text_of(paging.residency.least_bytes));
  text += fmt::format("a decode step reads {} from disk at the least",
                      bytes_text(decode.step.disk_bytes));
  if (paging.bytes_per_second <= 0) {
    text +=
        "; --disk-gb-s or --calibrate says how long that takes, and the times below leave it out\n";
    return text;
  }
  text += fmt::format(": {} at {:.3g} GB/s ({}); it takes {} at best\n",
                      seconds_text(decode.step.disk_seconds), paging.bytes_per_second / 1e9,
                      heading.disk, seconds_text(decode.best_seconds));
  return text;
}

}  // namespace dunlin
