// `dunlin bench`: how fast a model runs, in llama-bench's terms.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>

#include "cli/bench_compare.h"
#include "cli/bench_forward.h"
#include "cli/bench_model.h"
#include "cli/bench_run.h"
#include "cli/bench_sweep.h"
#include "cli/commands.h"
#include "cli/inside_flags.h"
#include "cli/model_name.h"
#include "cli/options.h"
#include "cli/terminal.h"

namespace dunlin {
namespace {

constexpr int64_t kMostTokens = int64_t{1} << 31;

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

// For Flag::check: 5% or 0.05.
Check fraction() {
  return {[](const std::string& text) {
    const auto value = parse_fraction(text);
    return value.ok() ? std::string() : value.error().message;
  }};
}

// What becomes of the results.
void add_result_flags(Command command, BenchFlags& flags) {
  add_flag(command, "--compare", flags.compare,
           "print the medians beside those of an earlier --json or -o json")
      .type_name("FILE");
  add_flag(command, "--fail-if", flags.fail_if,
           "with --compare: exit code 6 when the median speed of a test fell by more than this, "
           "such as 5% or 0.05")
      .type_name("P")
      .check(fraction());
  add_flag(command, "--profile", flags.profile,
           "run each test once more, untimed, write a trace of its steps for ui.perfetto.dev, and "
           "print the ten costliest kinds of them")
      .type_name("FILE");
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
  add_result_flags(command, *flags);
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
      "  dunlin bench model dream/ -p 32 -n 128 -d 32 --steps 32 --dlm-cache dual\n"
      "  dunlin bench model model.gguf --json > old.json\n"
      "  dunlin bench model model.gguf --compare old.json --fail-if 5%\n"
      "  dunlin bench model model.gguf -p 512 -n 32 --profile trace.json");
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
