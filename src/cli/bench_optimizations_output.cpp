#include "cli/bench_optimizations_output.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/cpu_features.h"
#include "cli/bench_model.h"
#include "cli/chart_file.h"
#include "cli/plan_output.h"
#include "cli/version.h"
#include "report/bar_chart.h"
#include "report/table.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;

const LadderResult& result_of(const LadderReport& report, size_t set) {
  return report.results[set];
}

double time_of(const LadderReport& report, size_t set) {
  return mean(result_of(report, set).milliseconds());
}

double bytes_per_row(const LadderReport& report, const LadderResult& result) {
  return static_cast<double>(result.attention_bytes()) / static_cast<double>(report.positions());
}

Json measured_json(const LadderReport& report, const LadderRow& row, size_t set) {
  const LadderResult& result = result_of(report, set);
  const std::vector<double> times = result.milliseconds();
  return {{"disabled", report.plan.sets[set].disabled},
          {"quantize", report.plan.sets[set].weights},
          {"backend", result.backend},
          {"isa", result.isa},
          {"n_threads", result.threads},
          {"precision", result.precision},
          {"avg_ms", mean(times)},
          {"stddev_ms", standard_deviation(times)},
          {"samples_ms", times},
          {"prompt_ms", result.mean_prompt_ms()},
          {"gen_ms", result.mean_generate_ms()},
          {"speed_up", speed_up(report, row)},
          {"brings", brings(report, row)},
          {"attention_bytes", result.attention_bytes()},
          {"attention_kv_bytes", result.kv_bytes},
          {"attention_scratch_bytes", result.attention_scratch_bytes},
          {"attention_bytes_per_row", bytes_per_row(report, result)},
          {"weights_bytes", result.weights_bytes}};
}

Json row_json(const LadderReport& report, const LadderRow& row) {
  Json object = {{"group", row.group}, {"name", row.name}};
  if (!row.set) {
    object["rests_on"] = row.rests_on;
    object["avg_ms"] = nullptr;
  } else {
    object.update(measured_json(report, row, *row.set));
  }
  return object;
}

const std::vector<TableColumn> kLadderColumns = {
    {"group", false, 13},       {"optimisations", false, 18}, {"time, ms", true, 20},
    {"speed-up", true, 9},      {"brings", true, 7},          {"attention", true, 10},
    {"bytes per row", true, 13}};

std::vector<std::string> cells_of(const LadderReport& report, const LadderRow& row) {
  if (!row.set)
    return {row.group, row.name, fmt::format("(rests on {})", row.rests_on), "", "", "", ""};
  const LadderResult& result = result_of(report, *row.set);
  const std::vector<double> times = result.milliseconds();
  return {row.group,
          row.name,
          fmt::format("{:.2f} ± {:.2f}", mean(times), standard_deviation(times)),
          fmt::format("{:.2f}", speed_up(report, row)),
          fmt::format("{:.2f}", brings(report, row)),
          bytes_text(static_cast<double>(result.attention_bytes())),
          fmt::format("{:.0f}", bytes_per_row(report, result))};
}

std::string subtitle(const LadderReport& report) {
  const LadderResult& all = result_of(report, LadderPlan::kAll);
  return fmt::format("{}, {} prompt tokens, {} generated, threads {}, isa {}", report.family,
                     report.prompt, report.generate, all.threads, all.isa);
}

// Bars in the order of the table, in a colour for each group.
BarChart bars_of(const LadderReport& report, double (*value)(const LadderReport&, const LadderRow&),
                 std::string (*label)(double)) {
  BarChart chart{.subtitle = subtitle(report)};
  for (const LadderRow& row : report.plan.rows) {
    if (!row.set) continue;
    const auto kind = std::ranges::find(chart.kinds, row.group);
    const auto number = static_cast<size_t>(kind - chart.kinds.begin());
    if (kind == chart.kinds.end()) chart.kinds.push_back(row.group);
    const double of_row = value(report, row);
    chart.bars.push_back(
        {.name = row.name, .value = of_row, .label = label(of_row), .kind = number});
  }
  return chart;
}

double row_bytes_per_row(const LadderReport& report, const LadderRow& row) {
  return bytes_per_row(report, result_of(report, *row.set));
}

}  // namespace

double speed_up(const LadderReport& report, const LadderRow& row) {
  return row.set ? time_of(report, LadderPlan::kBaseline) / time_of(report, *row.set) : 0.0;
}

double brings(const LadderReport& report, const LadderRow& row) {
  return row.set ? time_of(report, row.without) / time_of(report, row.with) : 0.0;
}

Json ladder_json(const LadderReport& report) {
  const LadderResult& all = result_of(report, LadderPlan::kAll);
  Json left_out = Json::array();
  for (const Ladder::LeftOut& each : report.ladder.left_out)
    left_out.push_back(Json{{"name", each.name}, {"why", each.why}});
  Json order = Json::array();
  for (const LadderStep& step : report.ladder.steps) order.push_back(step.name);
  Json rows = Json::array();
  for (const LadderRow& row : report.plan.rows) rows.push_back(row_json(report, row));
  return {{"schema_version", 1},
          {"build_number", version()},
          {"cpu_info", cpu_features().model},
          {"model_filename", report.model},
          {"model_type", report.family},
          {"model_formats", report.formats},
          {"n_prompt", report.prompt},
          {"n_gen", report.generate},
          {"n_ubatch", report.rows},
          {"repetitions", all.samples.size()},
          {"test_time", report.test_time},
          {"load_average", report.load_average},
          {"ids", all.ids},
          {"optimizations", std::move(order)},
          {"left_out", std::move(left_out)},
          {"results", std::move(rows)}};
}

std::string ladder_text(const LadderReport& report) {
  std::string text = markdown_header(kLadderColumns);
  for (const LadderRow& row : report.plan.rows)
    text += markdown_row(kLadderColumns, cells_of(report, row));
  text += fmt::format(
      "\n{}\n"
      "speed-up: over the baseline. brings: time without over time with the row's optimisation.\n"
      "attention: KV cache and scratch of attention, as allocated; per row: of {} positions.\n"
      "Without `compiled` the reference executor runs, on one thread.\n",
      subtitle(report), report.positions());
  for (const Ladder::LeftOut& each : report.ladder.left_out)
    text += fmt::format("{} is left out: {}.\n", each.name, each.why);
  return text + fmt::format("build: {} ({})\n", version(), compiler_version());
}

Result<void> write_ladder_charts(const LadderReport& report, const std::string& folder) {
  BarChart speed =
      bars_of(report, speed_up, [](double value) { return fmt::format("{:.3g}x", value); });
  speed.title = "What the optimisations bring";
  speed.x = {"speed-up over the baseline", ChartScale::log10};
  DUNLIN_RETURN_IF_ERROR(write_chart(folder, "speed_up.svg", svg_bars(speed)));
  BarChart bytes =
      bars_of(report, row_bytes_per_row, [](double value) { return bytes_text(value); });
  bytes.title = "Memory of attention";
  bytes.x = {fmt::format("bytes for each of {} positions", report.positions()), ChartScale::linear};
  return write_chart(folder, "attention_bytes.svg", svg_bars(bytes));
}

}  // namespace dunlin
