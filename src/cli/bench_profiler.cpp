#include "cli/bench_profiler.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "base/cpu_features.h"
#include "cli/interrupt.h"
#include "cli/terminal.h"
#include "cli/version.h"

namespace dunlin {
namespace {

// Of one test: as many as 128 generated tokens have of 500 steps on four threads. They take 15 MB, and
// up to 100 MB of the trace.
constexpr size_t kMostEvents = size_t{1} << 18;
constexpr size_t kMostKinds = 10;

}  // namespace

BenchProfiler::BenchProfiler(std::string path, TraceFile trace)
    : path_(std::move(path)), trace_(std::move(trace)), profile_(kMostEvents) {}

Result<std::unique_ptr<BenchProfiler>> BenchProfiler::create(const std::string& path) {
  auto trace = TraceFile::create(path);
  if (!trace.ok()) return trace.error().with_context("--profile");
  return std::unique_ptr<BenchProfiler>(new BenchProfiler(path, *std::move(trace)));
}

Result<void> BenchProfiler::check(const Model& model) {
  const auto recorded =
      record_while(*model.executable, profile_, []() -> Result<void> { return {}; });
  return recorded.ok() ? Result<void>() : recorded.error().with_context("--profile");
}

Result<void> BenchProfiler::add(const std::string& path, const Model& model, TestBench& bench,
                                const std::vector<BenchTest>& tests, const Roofs& roofs) {
  const std::string process =
      fmt::format("{}, {} threads, {}", path, model.executable->threads(), model.executable->isa());
  DUNLIN_RETURN_IF_ERROR(trace_.begin_process(process, model.executable->threads()));
  without_peak_ = without_peak_ || !roofs.flops_per_second.has_value();
  for (const BenchTest& test : tests) {
    if (pending_interrupt() != 0) return {};
    profile_.clear();
    DUNLIN_RETURN_IF_ERROR(bench.profile(test, profile_));
    DUNLIN_RETURN_IF_ERROR(trace_.add(test.name(), profile_, roofs));
    const std::string title = fmt::format("{}, {}", process, test.name());
    text_ += profile_table(title, profile_, roofs, kMostKinds);
    if (profile_.lost_runs() > 0) {
      text_ += fmt::format(
          "{} runs behind these are neither here nor in the trace: it holds {} events "
          "of a test\n",
          profile_.lost_runs(), kMostEvents);
    }
    text_ += '\n';
  }
  return {};
}

Result<void> BenchProfiler::finish() {
  if (without_peak_) {
    text_ +=
        "No peak was calibrated for these threads (`dunlin plan MODEL --calibrate`): steps are "
        "held "
        "against the bandwidth alone.\n";
  }
  DUNLIN_RETURN_IF_ERROR(trace_.finish(
      {{"build", version()}, {"cpu", cpu_features().model}, {"command", "dunlin bench model"}}));
  note("profile  {}: https://ui.perfetto.dev opens it\n", path_);
  return {};
}

}  // namespace dunlin
