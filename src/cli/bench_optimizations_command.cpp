// `dunlin bench optimizations`: what each optimisation brings, measured with one binary.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/answer.h"
#include "cli/bench_model.h"
#include "cli/bench_optimizations.h"
#include "cli/bench_optimizations_output.h"
#include "cli/commands.h"
#include "cli/inside_flags.h"
#include "cli/interrupt.h"
#include "cli/model_name.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "cli/this_cpu.h"

namespace dunlin {
namespace {

struct LadderFlags {
  std::string model;
  int64_t prompt = 64;
  int64_t generate = 32;
  int64_t repetitions = 5;
  int threads = 1;
  BatchFlags step;
  int64_t layers = -1;
  std::vector<std::string> weights;
  std::string svg;
  bool json = false;
};

constexpr int64_t kMostLadderTokens = 1 << 20;

ModelOptions model_options(const LadderFlags& flags) {
  ModelOptions options;
  options.threads = flags.threads;
  options.context = flags.prompt + flags.generate;
  options.rows = flags.step.rows();
  options.layers = flags.layers;
  options.logits_view_k = 0;
  return options;
}

// Loads every set, then runs them in turn: what disturbs the machine for a while disturbs them all.
class LadderBench {
 public:
  explicit LadderBench(const LadderFlags& flags) : flags_(flags), bar_(true) {}

  // Nothing: a signal came.
  Result<std::optional<LadderReport>> run() {
    const auto now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
    report_.test_time = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(now));
    report_.load_average = load_average();
    DUNLIN_RETURN_IF_ERROR(load());
    DUNLIN_RETURN_IF_ERROR(measure());
    bar_.clear();
    if (pending_interrupt() != 0) return std::optional<LadderReport>();
    for (const auto& model : models_) report_.results.push_back(model->result());
    DUNLIN_RETURN_IF_ERROR(check_same_tokens(report_.plan, report_.results));
    return std::optional<LadderReport>(std::move(report_));
  }

 private:
  Result<void> load_set(const LadderSet& set) {
    DUNLIN_ASSIGN_OR_RETURN(auto model,
                            LadderModel::load(flags_.model, model_options(flags_), set));
    models_.push_back(std::move(model));
    return {};
  }

  // The first has everything on; its Program says what there is to measure.
  Result<void> load() {
    DUNLIN_RETURN_IF_ERROR(load_set({}));
    const Model& all = models_.front()->model();
    report_.model = flags_.model;
    report_.family = all.program.model;
    report_.formats = format_summary(*all.checkpoint);
    report_.prompt = flags_.prompt;
    report_.generate = flags_.generate;
    report_.rows = all.limits.rows;
    report_.ladder = ladder_of(all.program);
    report_.plan = plan_ladder(report_.ladder, flags_.weights);
    prompt_ = ladder_prompt(flags_.prompt, all.vocabulary);
    const size_t sets = report_.plan.sets.size();
    while (models_.size() < sets && pending_interrupt() == 0) {
      bar_.update(0, fmt::format("loading {} of {}", models_.size() + 1, sets));
      DUNLIN_RETURN_IF_ERROR(load_set(report_.plan.sets[models_.size()]));
    }
    return {};
  }

  Result<void> measure() {
    const size_t all = models_.size() * static_cast<size_t>(flags_.repetitions);
    size_t done = 0;
    for (const auto& model : models_) {
      if (pending_interrupt() != 0) return {};
      bar_.update(0, "warming up");
      DUNLIN_RETURN_IF_ERROR(model->run(prompt_, /*generate=*/1, /*timed=*/false));
    }
    for (int64_t i = 0; i < flags_.repetitions; ++i) {
      for (const auto& model : models_) {
        if (pending_interrupt() != 0) return {};
        bar_.update(static_cast<double>(done) / static_cast<double>(all),
                    fmt::format("repetition {} of {}", i + 1, flags_.repetitions));
        DUNLIN_RETURN_IF_ERROR(model->run(prompt_, flags_.generate, /*timed=*/true));
        ++done;
      }
    }
    return {};
  }

  const LadderFlags& flags_;
  ProgressBar bar_;
  LadderReport report_;
  std::vector<int32_t> prompt_;
  std::vector<std::unique_ptr<LadderModel>> models_;  // by set
};

Result<int> bench_optimizations(const LadderFlags& flags) {
  catch_interrupts();
  DUNLIN_ASSIGN_OR_RETURN(const std::optional<LadderReport> report, LadderBench(flags).run());
  if (!report) return exit_code_of_signal(pending_interrupt());
  if (!flags.svg.empty()) DUNLIN_RETURN_IF_ERROR(write_ladder_charts(*report, flags.svg));
  if (flags.json) {
    fmt::print("{}\n", json_line(ladder_json(*report)));
  } else {
    fmt::print("{}", ladder_text(*report));
  }
  return 0;
}

}  // namespace

void add_bench_optimizations(Command bench, int& exit_code) {
  Command command =
      bench.add_command("optimizations", "What each optimisation brings, alone and together");
  auto flags = std::make_shared<LadderFlags>();
  add_flag(command, "model,-m,--model", flags->model,
           "Hugging Face directory or .gguf file; small, for nothing is fast without them")
      .required()
      .type_name("MODEL")
      .check(not_empty())
      .transform(resolve_model);
  add_flag(command, "-p,--n-prompt", flags->prompt, "tokens of the prompt")
      .check(in_range(1, kMostLadderTokens));
  add_flag(command, "-n,--n-gen", flags->generate, "tokens to generate, one by one")
      .check(in_range(1, kMostLadderTokens));
  add_flag(command, "-r,--repetitions", flags->repetitions, "how often each row is timed, in turn")
      .check(in_range(1, 1000));
  add_flag(command, "-t,--threads", flags->threads,
           "threads (0: one per core); without `compiled` there is one always")
      .check(in_range(0, 1024));
  flags->step.add_to(command);
  add_layers_flag(command, flags->layers, "run only the first N layers");
  add_flag(command, "--weights", flags->weights,
           "further rows with the matrices of an F32, F16 or BF16 model in these types: "
           "BF16,FP8,MXFP4")
      .type_name("TYPE,...")
      .delimiter(',')
      .check(quantize_type());
  add_flag(command, "--svg", flags->svg,
           "write charts into this folder: speed_up.svg, attention_bytes.svg");
  add_switch(command, "--json", flags->json, "print one JSON object");
  command.footer(
      "The baseline has everything off: the reference executor, in float32, computing the whole\n"
      "sequence for every token. A model of some megabytes, or --layers, keeps that bearable.\n"
      "Exit code 6 when two rows of one precision compute different tokens.\n"
      "Examples:\n"
      "  dunlin bench optimizations mixture.gguf --layers 1\n"
      "  dunlin bench optimizations model/ -p 128 -n 64 --svg charts --json\n"
      "  dunlin bench optimizations model/ --layers 2 --weights BF16,FP8,MXFP4");
  command.callback([flags, &exit_code] {
    const auto result = bench_optimizations(*flags);
    exit_code = result.ok() ? *result : report_error(result.error());
  });
}

}  // namespace dunlin
