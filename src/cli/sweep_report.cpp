#include "cli/sweep_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <span>

#include "base/byte_source.h"
#include "base/json_document.h"
#include "cli/bench_model.h"
#include "cli/plan_output.h"
#include "report/table.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;
using Cells = std::vector<std::string>;

constexpr uint64_t kMostSweepBytes = 16u << 20;
constexpr const char* kChartName = "throughput.svg";

double per_sequence(const SweepRow& row) {
  return row.tokens_per_second() / static_cast<double>(row.batch);
}

Json row_json(const SweepRow& row) {
  return {{"batch", row.batch},
          {"tokens", row.tokens},
          {"avg_seconds", mean(row.seconds)},
          {"stddev_seconds", standard_deviation(row.seconds)},
          {"first_seconds", row.first_seconds},
          {"tokens_per_second", row.tokens_per_second()},
          {"tokens_per_second_per_sequence", per_sequence(row)},
          {"tokens_per_forward", row.tokens_per_forward},
          {"samples_seconds", row.seconds}};
}

// Milliseconds of one token of a batch of one.
double single_token_ms(const SweepRow& row) {
  return 1e3 / row.tokens_per_second();
}

Json side_json(const SweepSide& side) {
  Json rows = Json::array();
  for (const SweepRow& row : side.rows) rows.push_back(row_json(row));
  const SweepRow* const best = side.best();
  const SweepRow* const one = side.of(1);
  return {
      {"name", side.name},
      {"backend", side.backend},
      {"isa", side.isa},
      {"threads", side.threads},
      {"precision", side.precision},
      {"kv_type", side.kv_type},
      {"formats", side.formats},
      {"load_seconds", side.load_seconds},
      {"optimal_batch", best != nullptr ? Json(best->batch) : Json(nullptr)},
      {"peak_tokens_per_second", best != nullptr ? Json(best->tokens_per_second()) : Json(nullptr)},
      {"single_token_ms", one != nullptr ? Json(single_token_ms(*one)) : Json(nullptr)},
      {"rows", rows},
      {"issues", side.issues}};
}

// How much faster the first side is than the second, batch by batch.
Json speed_up_json(const Sweep& sweep) {
  Json ratios = Json::array();
  if (sweep.sides.size() < 2) return ratios;
  for (const SweepRow& row : sweep.sides[0].rows) {
    const SweepRow* const other = sweep.sides[1].of(row.batch);
    if (other == nullptr) continue;
    ratios.push_back(
        {{"batch", row.batch}, {"ratio", row.tokens_per_second() / other->tokens_per_second()}});
  }
  return ratios;
}

// ------------------------------------------------------------------------------------ reading

Result<double> positive(const Json& object, const char* name) {
  const auto it = object.find(name);
  if (it != object.end() && it->is_number() && it->get<double>() > 0) return it->get<double>();
  return usage_error(fmt::format("{} is not a number above 0", name));
}

Result<SweepRow> read_row(const Json& object) {
  if (!object.is_object()) return usage_error("a row is not an object");
  SweepRow row;
  DUNLIN_ASSIGN_OR_RETURN(const double batch, positive(object, "batch"));
  DUNLIN_ASSIGN_OR_RETURN(const double tokens, positive(object, "tokens"));
  DUNLIN_ASSIGN_OR_RETURN(row.first_seconds, positive(object, "first_seconds"));
  DUNLIN_ASSIGN_OR_RETURN(row.tokens_per_forward, positive(object, "tokens_per_forward"));
  constexpr double kMost = 1e15;  // a double holds every integer up to here
  if (batch > kMost || tokens > kMost) return usage_error("batch or tokens is too large");
  row.batch = static_cast<int64_t>(batch);
  row.tokens = static_cast<int64_t>(tokens);
  const auto samples = object.find("samples_seconds");
  if (samples == object.end() || !samples->is_array() || samples->empty())
    return usage_error("samples_seconds is not a list of numbers");
  for (const Json& sample : *samples) {
    if (!sample.is_number() || sample.get<double>() <= 0)
      return usage_error("samples_seconds is not a list of numbers above 0");
    row.seconds.push_back(sample.get<double>());
  }
  return row;
}

Result<SweepSide> side_of(const Json& document) {
  const auto results = document.find("results");
  if (results == document.end() || !results->is_array() || results->empty() ||
      !results->front().is_object())
    return usage_error("results is not a list of objects: no file of `dunlin bench sweep --json`");
  const Json& first = results->front();
  const auto rows = first.find("rows");
  if (rows == first.end() || !rows->is_array() || rows->empty())
    return usage_error("rows is not a list");
  SweepSide side;
  for (const Json& each : *rows) {
    DUNLIN_ASSIGN_OR_RETURN(SweepRow row, read_row(each));
    if (!side.rows.empty() && row.batch <= side.rows.back().batch)
      return usage_error("the batches of rows do not ascend");
    side.rows.push_back(std::move(row));
  }
  const auto load = first.find("load_seconds");
  if (load != first.end() && load->is_number()) side.load_seconds = load->get<double>();
  return side;
}

// ------------------------------------------------------------------------------------ Markdown

std::string table(const std::vector<TableColumn>& columns, const std::vector<Cells>& rows) {
  std::string text = markdown_header(columns);
  for (const Cells& cells : rows) text += markdown_row(columns, cells);
  return text + "\n";
}

std::string environment(const Sweep& sweep) {
  std::vector<Cells> rows = {
      {"model", fmt::format("{} ({}, {} parameters)", sweep.model, sweep.family,
                            short_number(static_cast<double>(sweep.parameters)))},
      {"processor", fmt::format("{}, {} cores", sweep.cpu, sweep.cores)},
      {"free memory", bytes_text(static_cast<double>(sweep.free_bytes))},
      {"load average", fmt::format("{:.2f}", sweep.load_average)},
      {"dunlin", sweep.build},
      {"answers",
       fmt::format("{} tokens after prompts of {}{}", sweep.answer_tokens, sweep.prompt_tokens,
                   sweep.method.empty() ? "" : "; " + sweep.method)}};
  for (const SweepSide& side : sweep.sides) {
    if (side.backend.empty()) continue;  // of a file
    rows.push_back(
        {side.name,
         fmt::format("back end {}, isa {}, {} threads, precision {}, keys and values {}, {}",
                     side.backend, side.isa, side.threads, side.precision, side.kv_type,
                     side.formats)});
  }
  return table({{"environment"}, {""}}, rows);
}

// What a device compiles falls into the first run.
std::string times(const Sweep& sweep) {
  std::vector<Cells> rows;
  for (const SweepSide& side : sweep.sides) {
    if (side.rows.empty()) continue;
    const SweepRow& row = side.rows.front();
    const double warm = mean(row.seconds);
    const SweepRow* const one = side.of(1);
    rows.push_back(
        {side.name, fmt::format("{:.2f}", side.load_seconds), fmt::to_string(row.batch),
         fmt::format("{:.3f}", row.first_seconds), fmt::format("{:.3f}", warm),
         fmt::format("{:.3f}", std::max(0.0, row.first_seconds - warm)),
         one != nullptr ? fmt::format("{:.2f}", single_token_ms(*one)) : std::string("-")});
  }
  return table({{"times"},
                {"load s", true},
                {"batch", true},
                {"first run s", true},
                {"warm run s", true},
                {"compile s (first less warm)", true},
                {"single token ms", true}},
               rows);
}

std::string throughputs(const Sweep& sweep) {
  std::vector<Cells> rows;
  for (const SweepSide& side : sweep.sides) {
    const SweepRow* const best = side.best();
    for (const SweepRow& row : side.rows) {
      const double base = side.rows.front().tokens_per_second();
      rows.push_back(
          {side.name, fmt::to_string(row.batch),
           fmt::format("{:.3f} ± {:.3f}", mean(row.seconds), standard_deviation(row.seconds)),
           fmt::format("{:.1f}{}", row.tokens_per_second(), &row == best ? " (best)" : ""),
           fmt::format("{:.1f}", per_sequence(row)), fmt::format("{:.2f}", row.tokens_per_forward),
           fmt::format("{:.2f}", row.tokens_per_second() / base)});
    }
  }
  return table({{"throughput"},
                {"batch", true},
                {"s", true},
                {"tokens/s", true},
                {"tokens/s each", true},
                {"tokens/forward", true},
                {"speed-up of the batch", true}},
               rows);
}

std::string conclusions(const Sweep& sweep) {
  std::string text;
  for (const SweepSide& side : sweep.sides) {
    if (const SweepRow* const best = side.best(); best != nullptr) {
      text += fmt::format("- {}: optimal batch {}, peak throughput {:.1f} tokens per second\n",
                          side.name, best->batch, best->tokens_per_second());
    }
  }
  if (sweep.sides.size() > 1) {
    for (const Json& each : speed_up_json(sweep)) {
      text += fmt::format("- batch {}: {} is {:.2f} times as fast as {}\n",
                          each["batch"].get<int64_t>(), sweep.sides[0].name,
                          each["ratio"].get<double>(), sweep.sides[1].name);
    }
  }
  return text + "\n";
}

std::string issues(const Sweep& sweep) {
  std::string text;
  for (const SweepSide& side : sweep.sides) {
    for (const std::string& issue : side.issues)
      text += fmt::format("- {}: {}\n", side.name, issue);
  }
  // It was read before the first run.
  if (sweep.load_average > 0.5) {
    text += fmt::format(
        "- the load average was {:.2f} before the first run: others used the processor\n",
        sweep.load_average);
  }
  return text.empty() ? "- none\n" : text;
}

Result<void> write_text(const std::string& folder, const char* name, const std::string& text) {
  return write_file_atomically(folder + "/" + name, std::as_bytes(std::span(text)));
}

}  // namespace

double SweepRow::tokens_per_second() const {
  return static_cast<double>(tokens) / mean(seconds);
}

const SweepRow* SweepSide::best() const {
  const auto it = std::ranges::max_element(rows, {}, &SweepRow::tokens_per_second);
  return it == rows.end() ? nullptr : &*it;
}

const SweepRow* SweepSide::of(int64_t batch) const {
  const auto it = std::ranges::find(rows, batch, &SweepRow::batch);
  return it == rows.end() ? nullptr : &*it;
}

Json sweep_json(const Sweep& sweep) {
  Json results = Json::array();
  for (const SweepSide& side : sweep.sides) results.push_back(side_json(side));
  return {{"schema_version", 1},
          {"model", sweep.model},
          {"family", sweep.family},
          {"parameters", sweep.parameters},
          {"prompt_tokens", sweep.prompt_tokens},
          {"answer_tokens", sweep.answer_tokens},
          {"method", sweep.method},
          {"date", sweep.date},
          {"cpu", sweep.cpu},
          {"cores", sweep.cores},
          {"free_bytes", sweep.free_bytes},
          {"load_average", sweep.load_average},
          {"build", sweep.build},
          {"results", results},
          {"speed_up", speed_up_json(sweep)}};
}

Result<SweepSide> read_sweep_side(const std::string& path) {
  const auto text = read_text_file(path, kMostSweepBytes);
  if (!text.ok()) return usage_error(text.error().message);
  const auto document = parse_ordered_json_object(*text, path);
  if (!document.ok()) return usage_error(document.error().message);
  auto side = side_of(*document);
  if (!side.ok()) return side.error().with_context(path);
  side->name = std::filesystem::path(path).filename().string();
  return side;
}

Chart sweep_chart(const Sweep& sweep) {
  Chart chart{.title = "Throughput over the batch",
              .subtitle = fmt::format("{}, answers of {} tokens after prompts of {}", sweep.model,
                                      sweep.answer_tokens, sweep.prompt_tokens),
              .x = {"answers at a time", ChartScale::log2},
              .y = {"tokens per second", ChartScale::linear}};
  for (const SweepSide& side : sweep.sides) {
    ChartSeries series{side.name, {}};
    for (const SweepRow& row : side.rows)
      series.points.push_back({static_cast<double>(row.batch), row.tokens_per_second()});
    chart.series.push_back(std::move(series));
  }
  const SweepRow* const best = sweep.sides.empty() ? nullptr : sweep.sides.front().best();
  if (best != nullptr) {
    chart.upright.push_back(
        {fmt::format("best: batch {}, {:.1f} tokens/s", best->batch, best->tokens_per_second()),
         static_cast<double>(best->batch)});
  }
  return chart;
}

std::string sweep_report(const Sweep& sweep, const std::string& svg) {
  return fmt::format(
      "# Throughput over the batch\n\n{}\n\n{}{}{}{}![Tokens per second over the batch]({})\n\n"
      "## Issues\n\n{}",
      sweep.date, environment(sweep), times(sweep), throughputs(sweep), conclusions(sweep), svg,
      issues(sweep));
}

Result<void> write_sweep_report(const Sweep& sweep, const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return runtime_error(fmt::format("{}: {}", folder, error.message()));
  DUNLIN_RETURN_IF_ERROR(write_text(folder, kChartName, svg_chart(sweep_chart(sweep))));
  DUNLIN_RETURN_IF_ERROR(
      write_text(folder, "sweep.json",
                 sweep_json(sweep).dump(2, ' ', false, Json::error_handler_t::replace) + "\n"));
  return write_text(folder, "report.md", sweep_report(sweep, kChartName));
}

}  // namespace dunlin
