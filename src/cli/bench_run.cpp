#include "cli/bench_run.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <utility>

#include "cli/bench_compare.h"
#include "cli/bench_diffusion.h"
#include "cli/bench_machine.h"
#include "cli/bench_model.h"
#include "cli/bench_output.h"
#include "cli/bench_profiler.h"
#include "cli/inside_flags.h"
#include "cli/interrupt.h"
#include "cli/offload_report.h"
#include "cli/other_cpu.h"
#include "cli/terminal.h"
#include "cli/this_cpu.h"

namespace dunlin {
namespace {

Result<std::vector<int64_t>> parse_lists(const std::vector<std::string>& texts,
                                         std::vector<int64_t> fallback) {
  if (texts.empty()) return fallback;
  std::vector<int64_t> values;
  for (const std::string& text : texts) {
    DUNLIN_ASSIGN_OR_RETURN(const auto more, parse_bench_list(text));
    values.insert(values.end(), more.begin(), more.end());
  }
  return values;
}

// In llama-bench's order: for each depth the prompts, then the generations, then the pairs.
Result<std::vector<BenchTest>> plan_tests(const BenchFlags& flags) {
  DUNLIN_ASSIGN_OR_RETURN(const auto prompts, parse_lists(flags.prompts, {512}));
  DUNLIN_ASSIGN_OR_RETURN(const auto generates, parse_lists(flags.generates, {128}));
  DUNLIN_ASSIGN_OR_RETURN(const auto depths, parse_lists(flags.depths, {0}));
  std::vector<BenchTest> tests;
  for (const int64_t depth : depths) {
    for (const int64_t prompt : prompts) tests.push_back({.prompt = prompt, .depth = depth});
    for (const int64_t generate : generates)
      tests.push_back({.generate = generate, .depth = depth});
    for (const std::string& text : flags.prompt_generates) {
      DUNLIN_ASSIGN_OR_RETURN(const auto pair, parse_bench_list(text));
      tests.push_back({.prompt = pair[0], .generate = pair[1], .depth = depth});
    }
  }
  std::erase_if(tests, [](const BenchTest& test) { return test.tokens() == 0; });
  if (tests.empty()) return usage_error("nothing to measure: every number of tokens is 0");
  return tests;
}

class Bench {
 public:
  Bench(const BenchFlags& flags, std::vector<BenchTest> tests)
      : flags_(flags), tests_(std::move(tests)) {}

  Result<void> add_printer(const std::string& format, FILE* file) {
    DUNLIN_ASSIGN_OR_RETURN(auto printer, make_bench_printer(format, file));
    printers_.push_back(std::move(printer));
    return {};
  }

  // The files that flags name, so that a mistake there shows before anything is measured.
  Result<void> open_files() {
    std::optional<double> fail_if;
    if (!flags_.fail_if.empty()) {
      if (flags_.compare.empty()) return usage_error("--fail-if needs --compare FILE");
      DUNLIN_ASSIGN_OR_RETURN(fail_if, parse_fraction(flags_.fail_if));
    }
    if (!flags_.compare.empty()) {
      DUNLIN_ASSIGN_OR_RETURN(EarlierResults earlier, EarlierResults::read(flags_.compare));
      comparison_.emplace(std::move(earlier), fail_if);
    }
    if (!flags_.profile.empty()) {
      DUNLIN_ASSIGN_OR_RETURN(profiler_, BenchProfiler::create(flags_.profile));
    }
    return {};
  }

  Result<int> run(const std::vector<int64_t>& thread_counts) {
    for (const auto& printer : printers_) printer->begin();
    for (const std::string& path : flags_.models) {
      for (const int64_t threads : thread_counts) {
        DUNLIN_RETURN_IF_ERROR(run_model(path, static_cast<int>(threads)));
        if (pending_interrupt() != 0) return exit_code_of_signal(pending_interrupt());
      }
    }
    for (const auto& printer : printers_) printer->end();
    return finish();
  }

 private:
  Result<ModelOptions> options(int threads) const {
    DUNLIN_ASSIGN_OR_RETURN(ModelOptions options, flags_.backend.bench_options());
    options.threads = threads;
    options.rows = flags_.step.rows();
    options.layers = flags_.layers;
    options.logits_view_k = 0;
    for (const BenchTest& test : tests_) {
      options.context = std::max(options.context, test.depth + test.tokens());
      options.new_tokens = std::max(options.new_tokens, test.tokens());
    }
    options.disabled = disabled_optimizations(flags_.disable);
    return options;
  }

  Result<void> run_model(const std::string& path, int threads) {
    DUNLIN_ASSIGN_OR_RETURN(ModelOptions model_options, options(threads));
    DUNLIN_ASSIGN_OR_RETURN(const bool diffusion, is_diffusion_model(path));
    if (diffusion) {
      // Tokens are drawn there, from the candidates of a row.
      model_options.logits_view_k = ModelOptions().logits_view_k;
      for (const BenchTest& test : tests_)
        model_options.context = std::max(model_options.context, canvas_positions(test));
    }
    reset_peak_rss();
    DUNLIN_ASSIGN_OR_RETURN(const auto model, load_model(path, model_options));
    if (profiler_ != nullptr) DUNLIN_RETURN_IF_ERROR(profiler_->check(*model));
    DUNLIN_ASSIGN_OR_RETURN(const auto bench, make_test_bench(*model, flags_.diffusion));
    std::vector<BenchResult> results;
    for (const BenchTest& test : tests_) {
      if (pending_interrupt() != 0) return {};
      if (flags_.progress)
        note("{}: {} with {} threads\n", path, test.name(), model->executable->threads());
      DUNLIN_ASSIGN_OR_RETURN(BenchResult result, measure(test, *model, *bench));
      results.push_back(std::move(result));
    }
    // After the tests, whose peak of memory it must not raise.
    DUNLIN_ASSIGN_OR_RETURN(const double stream, stream_of(*model));
    const std::optional<double> peak = calibrated_peak(*model);
    for (BenchResult& result : results) {
      result.stream_gb_s = stream;
      result.peak_flops = peak;
      DUNLIN_ASSIGN_OR_RETURN(result.flops, matrix_flops(*model, result.test, result.samples));
      auto json = bench_json(result, *model, path);
      if (comparison_.has_value()) json["compared"] = comparison_->add(json);
      for (const auto& printer : printers_) printer->print(json);
    }
    if (profiler_ == nullptr) return {};
    return profiler_->add(path, *model, *bench, tests_,
                          {.bytes_per_second = stream * 1e9, .flops_per_second = peak});
  }

  Result<BenchResult> measure(const BenchTest& test, const Model& model, TestBench& bench) {
    const auto now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
    BenchResult result;
    result.test = test;
    result.test_time = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(now));
    result.load_average = load_average();
    result.programs_before = model.executable->programs();
    const std::optional<CpuTimes> before = cpu_times();
    const std::optional<OffloadStatistics> offload_before = model.executable->offload();
    DUNLIN_ASSIGN_OR_RETURN(result.samples,
                            bench.measure(test, flags_.repetitions, !flags_.no_warmup));
    result.other_cpu = other_cpu(before, cpu_times());
    result.programs_after = model.executable->programs();
    result.offload = offload_between(offload_before, model.executable->offload());
    result.peak_rss_bytes = peak_rss_bytes();
    return result;
  }

  // The tables of the flags, behind the results. The exit code.
  Result<int> finish() {
    // Beside Markdown they are part of the product; in JSON or CSV they would be in the way.
    FILE* const tables = !flags_.json && flags_.output == "md" ? stdout : stderr;
    if (profiler_ != nullptr) {
      DUNLIN_RETURN_IF_ERROR(profiler_->finish());
      fmt::print(tables, "\n{}", profiler_->text());
    }
    if (!comparison_.has_value()) return 0;
    fmt::print(tables, "\n{}", comparison_->table());
    DUNLIN_ASSIGN_OR_RETURN(const bool fell, comparison_->finish());
    if (!fell) return 0;
    return report_error({ErrorKind::verification,
                         fmt::format("--fail-if {}: the speed of a test fell by more, beside {}",
                                     flags_.fail_if, flags_.compare)});
  }

  const BenchFlags& flags_;
  std::vector<BenchTest> tests_;
  std::vector<std::unique_ptr<BenchPrinter>> printers_;
  std::optional<BenchComparison> comparison_ = std::nullopt;
  std::unique_ptr<BenchProfiler> profiler_ = nullptr;
};

}  // namespace

Result<int> bench_model(const BenchFlags& flags) {
  DUNLIN_ASSIGN_OR_RETURN(auto tests, plan_tests(flags));
  DUNLIN_ASSIGN_OR_RETURN(const auto threads, parse_lists(flags.threads, {0}));
  flags.ignored.warn();
  Bench bench(flags, std::move(tests));
  DUNLIN_RETURN_IF_ERROR(bench.open_files());
  DUNLIN_RETURN_IF_ERROR(bench.add_printer(flags.json ? "object" : flags.output, stdout));
  if (flags.output_err != "none")
    DUNLIN_RETURN_IF_ERROR(bench.add_printer(flags.output_err, stderr));
  catch_interrupts();
  return bench.run(threads);
}

}  // namespace dunlin
