// The results of `bench optimizations` as a table, as JSON and as charts.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/bench_optimizations.h"

namespace dunlin {

struct LadderReport {
  std::string model = {};      // path
  std::string family = {};     // "gpt_oss"
  std::string formats = {};    // of the file: "MXFP4 (9), BF16 (24)"
  std::string test_time = {};  // UTC, ISO 8601, when it began
  int64_t prompt = 0;
  int64_t generate = 0;
  int64_t rows = 0;         // of a step
  double load_average = 0;  // of the last minute, then
  Ladder ladder = {};
  LadderPlan plan = {};
  std::vector<LadderResult> results = {};  // by set

  // The positions that the attention bytes serve.
  int64_t positions() const { return prompt + generate; }
};

// Speed-up of a row over the baseline, and what its optimisation brings: ratios of mean times.
double speed_up(const LadderReport& report, const LadderRow& row);
double brings(const LadderReport& report, const LadderRow& row);

nlohmann::ordered_json ladder_json(const LadderReport& report);

// A Markdown table and lines about what was measured.
std::string ladder_text(const LadderReport& report);

// Writes speed_up.svg and attention_bytes.svg into the folder, which is made where it is missing.
Result<void> write_ladder_charts(const LadderReport& report, const std::string& folder);

}  // namespace dunlin
