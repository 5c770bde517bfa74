#include "cli/bench_output.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/cpu_features.h"
#include "cli/answer.h"
#include "cli/offload_report.h"
#include "cli/version.h"
#include "report/csv.h"
#include "report/table.h"

namespace dunlin {
namespace {

using Json = nlohmann::ordered_json;

// Format of most tensors, "llama 134.52 M BF16" being llama-bench's kind of name.
std::string model_type(const Model& model, const std::string& parameters) {
  const std::string formats = format_summary(*model.checkpoint);
  return fmt::format("{} {} {}", model.program.model, parameters,
                     formats.substr(0, formats.find(" (")));
}

std::string parameters_text(int64_t count) {
  const auto value = static_cast<double>(count);
  return count < 1'000'000'000 ? fmt::format("{:.2f} M", value / 1e6)
                               : fmt::format("{:.2f} B", value / 1e9);
}

std::string size_text(uint64_t bytes) {
  const double mebibytes = static_cast<double>(bytes) / (1024.0 * 1024.0);
  return bytes < (1u << 30) ? fmt::format("{:.2f} MiB", mebibytes)
                            : fmt::format("{:.2f} GiB", mebibytes / 1024.0);
}

// "pp512", "tg128 @ d32", or of a model that fills in masks "tg128, 4.00 t/fwd".
std::string test_text(const BenchTest& test, const Json& tokens_per_forward) {
  if (!tokens_per_forward.is_number()) return test.name();
  return fmt::format("{}, {:.2f} t/fwd", test.name(), tokens_per_forward.get<double>());
}

Json pass_times_json(const BenchSamples& samples) {
  Json all = Json::array();
  for (const PassTimes& each : samples.pass_times) {
    all.push_back(
        {{"rows", each.rows}, {"passes", each.passes}, {"avg_ns", each.nanoseconds / each.passes}});
  }
  return all;
}

// A counter that does not move while a test is timed: nothing is compiled then.
Json programs_json(const BenchResult& result, const Model& model) {
  if (model.options.backend != "pjrt") return nullptr;
  return {{"compiled_before", result.programs_before.compiled},
          {"compiled_after", result.programs_after.compiled},
          {"compiled_while_timed", result.samples.timed_programs.compiled},
          {"loaded_before", result.programs_before.loaded},
          {"loaded_after", result.programs_after.loaded},
          {"loaded_while_timed", result.samples.timed_programs.loaded}};
}

// That were run: --layers may leave some out.
int64_t layer_count(const Model& model) {
  const auto all = model.checkpoint->config().integer("num_hidden_layers", 1, 4096);
  const int64_t count = all.ok() ? *all : 0;
  return model.options.layers < 0 ? count : std::min(count, model.options.layers);
}

Json or_null(const std::optional<double>& value) {
  return value.has_value() ? Json(*value) : Json(nullptr);
}

// Widths and order are llama-bench's, so that rows of both can be pasted into one table.
const std::vector<TableColumn> kModelColumns = {
    {"model", false, 30}, {"size", true, 10}, {"params", true, 10}, {"backend", false, 10},
    {"threads", true, 7}, {"test", true, 15}, {"t/s", true, 20}};

class MarkdownPrinter : public BenchPrinter {
 public:
  explicit MarkdownPrinter(FILE* file) : file_(file) {}
  void begin() override { fmt::print(file_, "{}", markdown_header(kModelColumns)); }
  void print(const Json& result) override {
    const BenchTest test{result["n_prompt"], result["n_gen"], result["n_depth"]};
    const std::vector<std::string> cells = {
        result["model_type"],
        size_text(result["model_size"]),
        parameters_text(result["model_n_params"]),
        result["backends"],
        fmt::to_string(result["n_threads"].get<int>()),
        test_text(test, result["tokens_per_forward"]),
        fmt::format("{:.2f} ± {:.2f}", result["avg_ts"].get<double>(),
                    result["stddev_ts"].get<double>())};
    fmt::print(file_, "{}", markdown_row(kModelColumns, cells));
    std::fflush(file_);
  }
  void end() override { fmt::print(file_, "\nbuild: {} ({})\n", version(), compiler_version()); }

 private:
  FILE* file_;
};

class JsonLinesPrinter : public BenchPrinter {
 public:
  explicit JsonLinesPrinter(FILE* file) : file_(file) {}
  void print(const Json& result) override {
    fmt::print(file_, "{}\n", json_line(result));
    std::fflush(file_);
  }

 private:
  FILE* file_;
};

class JsonPrinter : public BenchPrinter {
 public:
  JsonPrinter(FILE* file, bool object) : file_(file), object_(object) {}
  void print(const Json& result) override { results_.push_back(result); }
  void end() override {
    const Json all = object_ ? Json{{"schema_version", 1}, {"results", results_}} : Json(results_);
    fmt::print(file_, "{}\n", all.dump(2, ' ', false, Json::error_handler_t::replace));
  }

 private:
  FILE* file_;
  bool object_;
  Json results_ = Json::array();
};

// Lists and objects are left out, as llama-bench does with its samples.
class CsvPrinter : public BenchPrinter {
 public:
  explicit CsvPrinter(FILE* file) : file_(file) {}
  void print(const Json& result) override {
    std::vector<std::string> names;
    std::vector<std::string> cells;
    for (const auto& [name, value] : result.items()) {
      if (value.is_structured()) continue;
      names.push_back(name);
      cells.push_back(value.is_string() ? value.get<std::string>() : json_line(value));
    }
    if (!header_) fmt::print(file_, "{}", csv_row(names));
    header_ = true;
    fmt::print(file_, "{}", csv_row(cells));
    std::fflush(file_);
  }

 private:
  FILE* file_;
  bool header_ = false;
};

}  // namespace

Json bench_json(const BenchResult& result, const Model& model, const std::string& model_filename) {
  const Executable& executable = *model.executable;
  const std::vector<double> rates = result.samples.tokens_per_second();
  std::vector<double> times;
  for (const int64_t each : result.samples.nanoseconds) times.push_back(static_cast<double>(each));
  const int64_t parameters = parameter_count(*model.checkpoint);
  Json kernels = Json::object();
  for (const auto& [operation, kernel] : executable.kernels()) kernels[operation] = kernel;
  // A prompt and an answer count as passes of equally many rows. Bytes per nanosecond are GB/s.
  const int64_t passes = std::max<int64_t>(1, result.samples.weight_passes);
  const int64_t rows = std::max<int64_t>(1, result.samples.tokens / passes);
  const double weights_gb_s = static_cast<double>(streamed_weight_bytes(model, rows)) *
                              static_cast<double>(passes) / mean(times);
  const double tflops = result.flops / mean(times) / 1e3;
  const std::optional<double> peak = result.peak_flops;
  return {{"schema_version", 1},
          {"build_number", version()},
          {"cpu_info", cpu_features().model},
          {"backends", model.options.backend == "cpu" ? "CPU" : model.options.backend},
          {"model_filename", model_filename},
          {"model_type", model_type(model, parameters_text(parameters))},
          {"model_size", tensor_bytes(*model.checkpoint)},
          {"model_n_params", parameters},
          {"n_batch", model.options.rows},
          {"n_ubatch", model.options.rows},
          {"n_threads", executable.threads()},
          {"n_layers", layer_count(model)},
          {"disabled", fmt::format("{}", fmt::join(model.options.disabled, ","))},
          {"type_k", kv_type_name(*model.options.kv_type)},
          {"type_v", kv_type_name(*model.options.kv_type)},
          {"n_prompt", result.test.prompt},
          {"n_gen", result.test.generate},
          {"n_depth", result.test.depth},
          {"test_time", result.test_time},
          {"avg_ns", static_cast<int64_t>(mean(times))},
          {"stddev_ns", static_cast<int64_t>(standard_deviation(times))},
          {"avg_ts", mean(rates)},
          {"stddev_ts", standard_deviation(rates)},
          {"samples_ns", result.samples.nanoseconds},
          {"samples_ts", rates},
          {"forward_passes", result.samples.weight_passes},
          {"tokens_per_forward", or_null(result.samples.tokens_per_forward)},
          {"pass_times", pass_times_json(result.samples)},
          {"precision", precision_name(model.options.precision)},
          {"isa", executable.isa()},
          {"kernels", std::move(kernels)},
          {"load_ms", model.load_ms},
          {"peak_rss_bytes", result.peak_rss_bytes},
          {"weights_gb_s", weights_gb_s},
          {"stream_gb_s", result.stream_gb_s},
          {"bandwidth_fraction", weights_gb_s / result.stream_gb_s},
          {"tflops", tflops},
          {"peak_tflops", peak.has_value() ? Json(*peak / 1e12) : Json(nullptr)},
          {"peak_fraction", peak.has_value() ? Json(tflops * 1e12 / *peak) : Json(nullptr)},
          {"load_average", result.load_average},
          {"other_cpu", or_null(result.other_cpu)},
          {"programs", programs_json(result, model)},
          {"offload", offload_json(result.offload)}};
}

Result<std::unique_ptr<BenchPrinter>> make_bench_printer(const std::string& format, FILE* file) {
  using Printer = std::unique_ptr<BenchPrinter>;
  if (format == "md") return Printer(std::make_unique<MarkdownPrinter>(file));
  if (format == "json") return Printer(std::make_unique<JsonPrinter>(file, false));
  if (format == "object") return Printer(std::make_unique<JsonPrinter>(file, true));
  if (format == "jsonl") return Printer(std::make_unique<JsonLinesPrinter>(file));
  if (format == "csv") return Printer(std::make_unique<CsvPrinter>(file));
  return usage_error(fmt::format("--output {}: not md, json, jsonl or csv", format));
}

}  // namespace dunlin
