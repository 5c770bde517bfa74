#include "cli/offload_report.h"

#include <fmt/format.h>

#include <cstdint>

namespace dunlin {
namespace {

std::optional<double> hit_rate(const OffloadStatistics& statistics) {
  if (statistics.expert_uses == 0) return std::nullopt;
  return static_cast<double>(statistics.expert_hits) / static_cast<double>(statistics.expert_uses);
}

std::string decimal_size(uint64_t bytes) {
  const auto size = static_cast<double>(bytes);
  return bytes < 1'000'000'000 ? fmt::format("{:.1f} MB", size / 1e6)
                               : fmt::format("{:.2f} GB", size / 1e9);
}

// A system without limits is one of more bytes than anybody has.
std::string budget_text(uint64_t bytes) {
  return bytes == UINT64_MAX ? "without a limit" : "of " + decimal_size(bytes);
}

}  // namespace

std::optional<OffloadStatistics> offload_between(const std::optional<OffloadStatistics>& before,
                                                 const std::optional<OffloadStatistics>& after) {
  if (!before || !after) return std::nullopt;
  OffloadStatistics between = *after;
  between.expert_uses -= before->expert_uses;
  between.expert_hits -= before->expert_hits;
  between.read_bytes -= before->read_bytes;
  between.major_faults -= before->major_faults;
  return between;
}

std::string offload_text(const std::optional<OffloadStatistics>& statistics) {
  if (!statistics) return {};
  std::string text =
      fmt::format("offload  budget {}, {} stay in memory{}, {} are read in every step\n",
                  budget_text(statistics->budget_bytes), decimal_size(statistics->pinned_bytes),
                  statistics->locked ? "" : " (not locked: the system refuses)",
                  decimal_size(statistics->streamed_bytes));
  if (const auto rate = hit_rate(*statistics)) {
    text +=
        fmt::format("experts  {:.1f} % of {} were in memory, which holds {} of them\n", 100 * *rate,
                    statistics->expert_uses, decimal_size(statistics->expert_room_bytes));
  }
  return text + fmt::format("read     {} from storage, {} page faults\n",
                            decimal_size(statistics->read_bytes), statistics->major_faults);
}

nlohmann::ordered_json offload_json(const std::optional<OffloadStatistics>& statistics) {
  using Json = nlohmann::ordered_json;
  if (!statistics) return nullptr;
  const auto rate = hit_rate(*statistics);
  return {{"budget_bytes", statistics->budget_bytes},
          {"pinned_bytes", statistics->pinned_bytes},
          {"locked", statistics->locked},
          {"streamed_bytes", statistics->streamed_bytes},
          {"expert_room_bytes", statistics->expert_room_bytes},
          {"expert_uses", statistics->expert_uses},
          {"expert_hits", statistics->expert_hits},
          {"expert_hit_rate", rate ? Json(*rate) : Json(nullptr)},
          {"read_bytes", statistics->read_bytes},
          {"major_faults", statistics->major_faults}};
}

}  // namespace dunlin
