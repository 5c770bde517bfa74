// The result of `bench sweep`: throughput over the size of the batch, as JSON, a chart and a report.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "report/svg_chart.h"

namespace dunlin {

struct SweepRow {
  int64_t batch = 0;
  int64_t tokens = 0;        // of all answers of a run
  double first_seconds = 0;  // of the run before those that count: a device compiles in it
  std::vector<double> seconds = {};
  double tokens_per_forward = 0;

  double tokens_per_second() const;
};

// One of what is compared.
struct SweepSide {
  std::string name = {};  // "cpu auto"
  std::string backend = {}, isa = {}, precision = {}, kv_type = {}, formats = {};
  int threads = 0;
  double load_seconds = 0;
  std::vector<SweepRow> rows = {};  // ascending by batch
  std::vector<std::string> issues = {};

  // The row of the highest throughput, and that of a batch; null where there is none.
  const SweepRow* best() const;
  const SweepRow* of(int64_t batch) const;
};

struct Sweep {
  std::string model = {}, family = {};
  int64_t parameters = 0;
  int64_t prompt_tokens = 0, answer_tokens = 0;
  std::string method = {};  // how masks are filled in; empty: token after token
  std::string date = {};    // UTC, ISO 8601
  std::string cpu = {}, build = {};
  int cores = 0;
  int64_t free_bytes = 0;             // before anything was loaded
  double load_average = 0;            // then
  std::vector<SweepSide> sides = {};  // the first is compared with the second
};

nlohmann::ordered_json sweep_json(const Sweep& sweep);
// The first side of what sweep_json() wrote to a file. Errors (kind usage) name the file and the
// field.
Result<SweepSide> read_sweep_side(const std::string& path);

// Tokens per second over the batch of every side, the best batch of the first one marked.
Chart sweep_chart(const Sweep& sweep);
// Markdown, which shows the chart as the file `svg` beside it.
std::string sweep_report(const Sweep& sweep, const std::string& svg);

// Writes report.md, throughput.svg and sweep.json into the folder, which is made where it is missing.
Result<void> write_sweep_report(const Sweep& sweep, const std::string& folder);

}  // namespace dunlin
