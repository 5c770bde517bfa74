#include "cli/bench_profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string_view>

#include "program/layer_names.h"
#include "report/table.h"

namespace dunlin {
namespace {

double seconds_between(int64_t begin_ns, int64_t end_ns) {
  return 1e-9 * static_cast<double>(end_ns - begin_ns);
}

void add_event(const ProfileEvent& event, const Roofs& roofs, ProfileKind& kind) {
  const RoofTime roof = roof_time(event.bytes, event.flops, roofs);
  ++kind.calls;
  kind.seconds += seconds_between(event.begin_ns, event.end_ns);
  kind.bytes += event.bytes;
  kind.flops += event.flops;
  kind.roof.memory_seconds += roof.memory_seconds;
  kind.roof.compute_seconds += roof.compute_seconds;
  kind.roof_seconds += roof.seconds();
}

std::vector<std::string> row_of(const ProfileKind& kind, double total) {
  const double seconds = std::max(kind.seconds, 1e-9);
  return {kind.name,
          fmt::to_string(kind.calls),
          fmt::format("{:.3f}", kind.seconds * 1e3),
          fmt::format("{:.1f} %", 100 * kind.seconds / std::max(total, 1e-9)),
          fmt::format("{:.1f}", kind.bytes / seconds / 1e9),
          fmt::format("{:.3f}", kind.flops / seconds / 1e12),
          fmt::format("{:.2f}", kind.roof_seconds / seconds),
          kind.roof.bound()};
}

}  // namespace

RoofTime roof_time(double bytes, double flops, const Roofs& roofs) {
  RoofTime time{.memory_seconds = bytes / roofs.bytes_per_second};
  if (roofs.flops_per_second.has_value()) time.compute_seconds = flops / *roofs.flops_per_second;
  return time;
}

std::vector<ProfileKind> profile_kinds(const Profile& profile, const Roofs& roofs) {
  std::map<std::string, ProfileKind> by_name;
  std::vector<ProfileKind*> of_step;  // a map's elements stay where they are
  for (const ProfiledStep& step : profile.steps()) {
    const std::string name = step.operation + " " + without_numbers(step.name);
    ProfileKind& kind = by_name[name];
    kind.name = name;
    of_step.push_back(&kind);
  }
  for (const ProfileEvent& event : profile.events()) {
    if (event.worker == 0) add_event(event, roofs, *of_step[static_cast<size_t>(event.step)]);
  }
  std::vector<ProfileKind> kinds;
  for (const auto& [name, kind] : by_name) {
    if (kind.calls > 0) kinds.push_back(kind);
  }
  std::ranges::sort(kinds, [](const ProfileKind& a, const ProfileKind& b) {
    return a.seconds != b.seconds ? a.seconds > b.seconds : a.name < b.name;
  });
  return kinds;
}

double profiled_seconds(const Profile& profile) {
  double seconds = 0;
  for (const ProfiledRun& run : profile.runs())
    seconds += seconds_between(run.begin_ns, run.end_ns);
  return seconds;
}

std::string profile_table(const std::string& test, const Profile& profile, const Roofs& roofs,
                          size_t most) {
  std::vector<ProfileKind> kinds = profile_kinds(profile, roofs);
  const size_t all = kinds.size();
  kinds.resize(std::min(all, most));
  const double total = profiled_seconds(profile);
  std::vector<std::vector<std::string>> rows;
  for (const ProfileKind& kind : kinds) rows.push_back(row_of(kind, total));
  const std::vector<TableColumn> columns = {{"step"},          {"calls", true}, {"ms", true},
                                            {"share", true},   {"GB/s", true},  {"TFLOP/s", true},
                                            {"of roof", true}, {"bound by"}};
  return fmt::format("{}: {:.3f} ms (runs: {}); {} of {} kinds of steps\n{}", test, total * 1e3,
                     profile.runs().size(), kinds.size(), all, aligned_table(columns, rows));
}

std::string step_title(const ProfiledStep& step) {
  return step.operation + " " + step.name;
}

std::string kernels_text(const ProfiledStep& step, const ProfiledRun& run) {
  std::vector<std::string> names;
  for (const auto& [operation, kernel] : step.kernels) {
    if (operation.ends_with(" prompt") && !run.prompt) continue;
    if (operation.ends_with(" generated") && !run.generated) continue;
    if (std::ranges::find(names, kernel) == names.end()) names.push_back(kernel);
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace dunlin
