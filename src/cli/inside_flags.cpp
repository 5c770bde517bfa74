#include "cli/inside_flags.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "cli/argv.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "engine/optimizations.h"
#include "report/table.h"

namespace dunlin {
namespace {

constexpr const char* kAll = "all";

std::vector<std::string> optimization_names() {
  std::vector<std::string> names;
  for (const Optimization& each : all_optimizations()) names.push_back(each.name);
  return names;
}

// For Flag::check.
std::string check_optimization(const std::string& name) {
  std::vector<std::string> known = optimization_names();
  known.emplace_back(kPrecision);
  if (name == kAll || std::ranges::find(known, name) != known.end()) return {};
  const std::string nearest = nearest_name(name, known);
  return fmt::format("{}: there is no such optimisation; {}`dunlin help optimizations` lists them",
                     name, nearest.empty() ? "" : "did you mean " + nearest + "? ");
}

std::string check_condition(const std::string& text) {
  const auto condition = WatchCondition::parse(text);
  return condition.ok() ? std::string() : condition.error().message;
}

std::string number(double value) {
  return fmt::format("{:.6g}", value);
}

}  // namespace

Flag add_layers_flag(Command command, int64_t& layers, const std::string& help) {
  return add_flag(command, "--layers", layers, help).check(in_range(0, 4096)).default_str("");
}

Flag add_disable_flag(Command command, std::vector<std::string>& names) {
  return add_flag(command, "--disable", names,
                  "do without these optimisations, or `all` that change no result (dunlin help "
                  "optimizations lists them)")
      .type_name("NAME,...")
      .delimiter(',')
      .check({check_optimization});
}

std::vector<std::string> disabled_optimizations(const std::vector<std::string>& names) {
  std::vector<std::string> disabled;
  for (const std::string& name : names) {
    if (name != kAll) {
      disabled.push_back(name);
      continue;
    }
    const std::vector<std::string> all = optimization_names();
    disabled.insert(disabled.end(), all.begin(), all.end());
  }
  return disabled;
}

std::string optimizations_table() {
  std::vector<std::vector<std::string>> rows;
  for (const Optimization& each : all_optimizations())
    rows.push_back({"  " + each.name, each.brings});
  const Optimization precision = precision_optimization();
  rows.push_back({"  " + precision.name, precision.brings});
  const std::vector<TableColumn> columns = {{"  name"}, {"what it brings"}};
  return aligned_table(columns, rows);
}

void WatchFlags::add_to(Command command) {
  const FlagGroup group(command, "Looking inside");
  const Flag nodes =
      add_flag(command, "--watch", patterns,
               "print the statistics of the nodes with these names after every step: "
               "'layers.3.*' (inspect --program lists the names)")
          .type_name("GLOB,...")
          .delimiter(',');
  add_flag(command, "--until", until,
           "stop where a node of --watch meets a condition: nonfinite, or 'absmax>1e4' (min max "
           "absmax mean rms nonfinite; > >= < <=)")
      .type_name("CONDITION")
      .check({check_condition})
      .needs(nodes);
}

Result<std::shared_ptr<Watch>> WatchFlags::watch(bool quiet) const {
  if (patterns.empty()) return std::shared_ptr<Watch>();
  WatchOptions options{.patterns = patterns};
  if (!until.empty()) {
    auto condition = WatchCondition::parse(until);
    if (!condition.ok()) return condition.error().with_context("--until");
    options.until = *std::move(condition);
  }
  if (!quiet) {
    options.on_step = [](const Watch& watch, const WatchedStep& step) {
      if (step.number == 1) note("{}", blocked_text(watch));
      note("{}", step_text(step));
    };
  }
  return Watch::create(std::move(options));
}

std::string blocked_text(const Watch& watch) {
  constexpr size_t kShown = 4;
  std::map<std::string, std::vector<std::string>> by_name;
  for (const FusedNode& each : watch.blocked()) by_name[each.optimization].push_back(each.node);
  std::string text =
      fmt::format("watching {} values{}\n", watch.values().size(),
                  by_name.empty() ? "; no fusion is prevented by it" : "; fusions this prevents:");
  for (const auto& [name, nodes] : by_name) {
    const std::vector<std::string> shown(
        nodes.begin(), nodes.begin() + static_cast<int64_t>(std::min(kShown, nodes.size())));
    text += fmt::format(
        "  {} of {}{}\n", name, fmt::join(shown, ", "),
        nodes.size() > kShown ? fmt::format(" and {} more", nodes.size() - kShown) : std::string());
  }
  return text;
}

std::string step_text(const WatchedStep& step) {
  const std::vector<TableColumn> columns = {{"  node"},     {"operation"}, {"shape"},
                                            {"min", true},  {"max", true}, {"absmax", true},
                                            {"mean", true}, {"rms", true}, {"nonfinite", true}};
  std::vector<std::vector<std::string>> rows;
  for (const WatchedRow& each : step.values) {
    const ValueStatistics& s = each.statistics;
    rows.push_back({"  " + each.value->name, op_name(each.value->op),
                    fmt::format("[{}]", fmt::join(each.shape, ",")), number(s.min), number(s.max),
                    number(s.absmax), number(s.mean), number(s.rms), fmt::to_string(s.nonfinite)});
  }
  return fmt::format("step {}, {} rows\n{}", step.number, step.rows, aligned_table(columns, rows));
}

}  // namespace dunlin
