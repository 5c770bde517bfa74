// The result of `dunlin plan` as JSON, as tables and as charts.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/result.h"
#include "planner/plan.h"

namespace dunlin {

// What is printed beside the plan itself.
struct PlanHeading {
  std::string model;   // path
  std::string family;  // "llama"
  int64_t parameters = 0;
  std::string weights;                         // "int8 (560), BF16 (2)"
  bool assumed = false;                        // no weights were there to tell the formats
  std::string kv;                              // "bf16"
  std::optional<double> price = std::nullopt;  // USD per hour, of all devices together
  std::string disk = {};                       // where the speed of the disk is from: "calibrated"
};

// USD for a million tokens at the expected speed.
struct Cost {
  double decoded = 0;
  double prompt = 0;
};
std::optional<Cost> cost_of(const Plan& plan, const std::optional<double>& price);

// Rows that a phase of the prompts computes.
double prefill_rows(const Workload& workload);

nlohmann::ordered_json plan_json(const Plan& plan, const PlanHeading& heading);

std::string plan_text(const Plan& plan, const PlanHeading& heading);

// Writes tokens_per_second.svg and memory.svg into the folder, which is made where it is missing.
Result<void> write_plan_charts(const PlannedModel& model, const Machine& machine, const Plan& plan,
                               const PlanHeading& heading, const std::string& folder);

// "4.74 GiB", "512 KiB".
std::string bytes_text(double bytes);
// "1.5 s", "12.3 ms": three significant digits.
std::string seconds_text(double seconds);

}  // namespace dunlin
