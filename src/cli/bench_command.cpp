// `dunlin bench`: how fast a model runs, in llama-bench's terms.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cli/bench_diffusion.h"
#include "cli/bench_forward.h"
#include "cli/bench_model.h"
#include "cli/bench_output.h"
#include "cli/bench_sweep.h"
#include "cli/commands.h"
#include "cli/diffusion_flags.h"
#include "cli/inside_flags.h"
#include "cli/interrupt.h"
#include "cli/model_name.h"
#include "cli/options.h"
#include "cli/stream_bandwidth.h"
#include "cli/terminal.h"
#include "cli/this_cpu.h"

namespace dunlin {
namespace {

struct BenchFlags {
  std::vector<std::string> models;
  std::vector<std::string> prompts, generates, prompt_generates, depths, threads;
  int64_t repetitions = 5;
  BatchFlags step;
  BackendFlags backend;
  std::string output = "md";
  std::string output_err = "none";
  int64_t layers = -1;
  std::vector<std::string> disable;
  DiffusionFlags diffusion;
  bool no_warmup = false, progress = false, json = false;
  IgnoredFlags ignored;
};

constexpr int64_t kMostTokens = int64_t{1} << 31;

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

// For Flag::check: a list of numbers up to `most`.
Check number_list(int64_t most) {
  return {[most](const std::string& text) -> std::string {
    const auto values = parse_bench_list(text);
    if (!values.ok()) return values.error().message;
    const auto large = std::ranges::find_if(*values, [most](int64_t each) { return each > most; });
    return large == values->end() ? "" : fmt::format("{} is outside 0..{}", *large, most);
  }};
}

Check number_pair() {
  return {[](const std::string& text) -> std::string {
    const auto values = parse_bench_list(text);
    const bool pair = values.ok() && values->size() == 2;
    return pair ? "" : fmt::format("\"{}\" is not of the form 512,128", text);
  }};
}

// VmHWM of /proc/self/status.
uint64_t peak_rss_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::strtoull(line.c_str() + 6, nullptr, 10) * 1024;
  }
  return 0;
}

// Begins the peak of this process anew (proc(5), clear_refs), so that one model's does not count
// for the next.
void reset_peak_rss() {
  std::ofstream("/proc/self/clear_refs") << "5";
}

// The same number of threads over as many bytes as the model streams; more than a gibibyte measures
// the same memory.
Result<double> stream_of(const Model& model) {
  constexpr uint64_t kLeast = 1u << 20;
  constexpr uint64_t kMost = 1u << 30;
  const uint64_t bytes = std::clamp(streamed_weight_bytes(model, /*rows=*/1), kLeast, kMost);
  return measure_stream_gb_s(model.executable->threads(), bytes, 0.3);
}

// Operations per second that `dunlin plan --calibrate` once measured with these threads and this
// instruction set; nothing on another back end.
std::optional<double> calibrated_peak(const Model& model) {
  if (model.options.backend != "cpu") return std::nullopt;
  const auto rates = kept_rates(model.executable->threads());
  if (!rates.has_value() || rates->isa != model.executable->isa()) return std::nullopt;
  return rates->peak_flops();
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

  Result<int> run(const std::vector<int64_t>& thread_counts) {
    for (const auto& printer : printers_) printer->begin();
    for (const std::string& path : flags_.models) {
      for (const int64_t threads : thread_counts) {
        DUNLIN_RETURN_IF_ERROR(run_model(path, static_cast<int>(threads)));
        if (pending_interrupt() != 0) return exit_code_of_signal(pending_interrupt());
      }
    }
    for (const auto& printer : printers_) printer->end();
    return 0;
  }

 private:
  Result<ModelOptions> options(int threads) const {
    DUNLIN_ASSIGN_OR_RETURN(ModelOptions options, flags_.backend.options());
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
    DUNLIN_ASSIGN_OR_RETURN(const auto bench, make_test_bench(*model, flags_.diffusion));
    std::vector<BenchResult> results;
    for (const BenchTest& test : tests_) {
      if (pending_interrupt() != 0) return {};
      if (flags_.progress)
        note("{}: {} with {} threads\n", path, test.name(), model->executable->threads());
      const auto now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
      BenchResult result;
      result.test = test;
      result.test_time = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(now));
      result.load_average = load_average();
      DUNLIN_ASSIGN_OR_RETURN(result.samples,
                              bench->measure(test, flags_.repetitions, !flags_.no_warmup));
      result.peak_rss_bytes = peak_rss_bytes();
      results.push_back(std::move(result));
    }
    // After the tests, whose peak of memory it must not raise.
    DUNLIN_ASSIGN_OR_RETURN(const double stream, stream_of(*model));
    const std::optional<double> peak = calibrated_peak(*model);
    for (BenchResult& result : results) {
      result.stream_gb_s = stream;
      result.peak_flops = peak;
      DUNLIN_ASSIGN_OR_RETURN(result.flops, matrix_flops(*model, result.test, result.samples));
      for (const auto& printer : printers_) printer->print(bench_json(result, *model, path));
    }
    return {};
  }

  const BenchFlags& flags_;
  std::vector<BenchTest> tests_;
  std::vector<std::unique_ptr<BenchPrinter>> printers_;
};

Result<int> bench_model(const BenchFlags& flags) {
  DUNLIN_ASSIGN_OR_RETURN(auto tests, plan_tests(flags));
  DUNLIN_ASSIGN_OR_RETURN(const auto threads, parse_lists(flags.threads, {0}));
  flags.ignored.warn();
  Bench bench(flags, std::move(tests));
  DUNLIN_RETURN_IF_ERROR(bench.add_printer(flags.json ? "object" : flags.output, stdout));
  if (flags.output_err != "none")
    DUNLIN_RETURN_IF_ERROR(bench.add_printer(flags.output_err, stderr));
  catch_interrupts();
  return bench.run(threads);
}

// What is measured: each combination is a test.
void add_test_flags(Command command, BenchFlags& flags) {
  add_flag(command, "model,-m,--model", flags.models,
           "Hugging Face directories or .gguf files, separated by spaces or commas")
      .required()
      .type_name("MODEL")
      .transform(resolve_model)
      .delimiter(',');
  add_flag(command, "-p,--n-prompt", flags.prompts, "tokens of the prompt (512)")
      .check(number_list(kMostTokens));
  add_flag(command, "-n,--n-gen", flags.generates, "tokens to generate (128)")
      .check(number_list(kMostTokens));
  add_flag(command, "--prompt-gen", flags.prompt_generates,
           "prompt and generation together: 512,128 (-pg)")
      .check(number_pair());
  add_flag(command, "-d,--n-depth", flags.depths, "tokens in the cache before each test (0)")
      .check(number_list(kMostTokens));
  add_flag(command, "-t,--threads", flags.threads, "threads (0: one per core)")
      .check(number_list(1024));
}

void add_bench_model(Command bench, int& exit_code) {
  Command command = bench.add_command("model", "Prompt and generation speed, as llama-bench");
  auto flags = std::make_shared<BenchFlags>();
  add_test_flags(command, *flags);
  flags->step.add_to(command);
  flags->diffusion.add_schedule_to(command);
  add_flag(command, "-r,--repetitions", flags->repetitions, "how often each test is timed")
      .check(in_range(1, 1000));
  add_flag(command, "-o,--output", flags->output, "the form of the results")
      .check(one_of({"md", "json", "jsonl", "csv"}));
  add_flag(command, "--output-err", flags->output_err, "the same on stderr (-oe)")
      .check(one_of({"none", "md", "json", "jsonl", "csv"}));
  flags->backend.add_to(command);
  add_layers_flag(command, flags->layers, "run only the first N layers");
  add_disable_flag(command, flags->disable);
  add_switch(command, "--no-warmup", flags->no_warmup, "no untimed run before each test");
  add_switch(command, "--progress", flags->progress, "say on stderr which test begins");
  add_switch(command, "--json", flags->json, "print one JSON object with all results");
  flags->ignored.add_to(command);
  command.footer(
      "Numbers are lists (1,2), ranges (1-4, 1-9+4, 64-512*2), and may be repeated.\n"
      "Of a diffusion model -p N is one pass over a canvas of N positions, with -d over the last "
      "N\n"
      "positions of a canvas (a block), and -n N fills in N masks behind the others.\n"
      "Examples:\n"
      "  dunlin bench model model.gguf\n"
      "  dunlin bench model model/ -p 128-512*2 -n 0 -t 1,2 -o jsonl\n"
      "  dunlin bench model model.gguf -p 0 -n 64 -d 0,4096 -r 3\n"
      "  dunlin bench model dream/ -p 32 -n 128 -d 32 --steps 32 --dlm-cache dual");
  command.callback([flags, &exit_code] {
    const auto result = bench_model(*flags);
    exit_code = result.ok() ? *result : report_error(result.error());
  });
}

}  // namespace

void add_bench_command(Command app, int& exit_code) {
  Command command = app.add_command("bench", "Measure speed");
  command.require_subcommand();
  command.footer(
      "Examples:\n"
      "  dunlin bench model model.gguf -p 512 -n 128\n"
      "  dunlin bench forward model.gguf --batch 1,2,4,8 --seq-len 128\n"
      "  dunlin bench sweep model.gguf --batch 1,2,4,8 --report sweep\n"
      "  dunlin bench optimizations model.gguf --layers 2");
  add_bench_model(command, exit_code);
  add_bench_forward(command, exit_code);
  add_bench_sweep(command, exit_code);
  add_bench_optimizations(command, exit_code);
}

}  // namespace dunlin
