#include "cli/bench_sweep.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/cpu_features.h"
#include "cli/answer.h"
#include "cli/bench_batches.h"
#include "cli/bench_generation.h"
#include "cli/bench_model.h"
#include "cli/diffusion_flags.h"
#include "cli/inside_flags.h"
#include "cli/interrupt.h"
#include "cli/model_name.h"
#include "cli/options.h"
#include "cli/plan_source.h"
#include "cli/sampling_flags.h"
#include "cli/sweep_report.h"
#include "cli/sweep_side.h"
#include "cli/terminal.h"
#include "cli/this_cpu.h"
#include "cli/version.h"
#include "models/registry.h"
#include "report/table.h"

namespace dunlin {
namespace {

struct SweepFlags {
  std::string model;
  std::vector<std::string> batches;
  int64_t prompt = 32, tokens = 64, repetitions = 5;
  float temperature = 0.0f;
  int threads = 0;
  DiffusionFlags diffusion;
  BatchFlags step;
  BackendFlags backend;
  std::string compare, report;
  std::optional<double> fail_if;
  int64_t layers = -1;
  std::vector<std::string> disable;
  bool json = false;
};

const std::vector<TableColumn> kSweepColumns = {
    {"side", false, 14}, {"batch", true, 5},    {"first s", true, 9},
    {"s", true, 20},     {"tokens/s", true, 9}, {"tokens/forward", true, 14}};

// The options of the other side: WHAT is a back end, with a device behind a colon, or a profile.
// Nothing: it is neither, but a file.
std::optional<ModelOptions> other_options(const ModelOptions& options, const std::string& what) {
  ModelOptions other = options;
  const size_t colon = what.find(':');
  const std::string backend = what.substr(0, colon);
  constexpr std::array<std::string_view, 3> kBackends = {"cpu", "reference", "pjrt"};
  if (std::ranges::find(kBackends, std::string_view(backend)) != kBackends.end()) {
    other.backend = backend;
    other.device = colon == std::string::npos ? std::string() : what.substr(colon + 1);
    return other;
  }
  const auto precision = parse_precision(what);
  if (!precision.ok()) return std::nullopt;
  other.precision = *precision;
  return other;
}

std::string method_text(const DiffusionParams& params) {
  std::string text =
      fmt::format("{}, {} steps", diffusion_algorithm_name(params.algorithm), params.steps);
  if (params.algorithm == DiffusionAlgorithm::entropy_bound)
    text = fmt::format("entropy_bound {}", params.entropy_bound);
  if (params.cache == DiffusionCache::none) return text + ", no cache";
  return text + fmt::format(", {} cache, blocks of {}",
                            params.cache == DiffusionCache::dual ? "dual" : "prefix",
                            params.block_length);
}

class SweepRun {
 public:
  explicit SweepRun(const SweepFlags& flags) : flags_(flags) {}

  Result<int> run() {
    if (flags_.fail_if && flags_.compare.empty())
      return usage_error("--fail-if needs --compare: there is nothing to be slower than");
    DUNLIN_ASSIGN_OR_RETURN(batches_, parse_batches(flags_.batches, {1, 2, 4, 8, 16, 32}));
    DUNLIN_RETURN_IF_ERROR(describe());
    catch_interrupts();
    DUNLIN_RETURN_IF_ERROR(load());
    DUNLIN_RETURN_IF_ERROR(measure_all());
    if (pending_interrupt() != 0) return exit_code_of_signal(pending_interrupt());
    return publish();
  }

 private:
  // What is known before weights are read.
  Result<void> describe() {
    DUNLIN_ASSIGN_OR_RETURN(const PlanSource source, open_plan_source(flags_.model, flags_.layers));
    DUNLIN_ASSIGN_OR_RETURN(const auto diffusion, diffusion_of(source.config));
    diffusion_ = diffusion.has_value();
    shape_ = {.prompt = flags_.prompt, .tokens = flags_.tokens, .temperature = flags_.temperature};
    if (diffusion_) {
      SamplingFlags sampling;
      sampling.temperature = flags_.temperature;
      DUNLIN_ASSIGN_OR_RETURN(shape_.diffusion, flags_.diffusion.params(sampling, source.config));
      shape_.diffusion.steps = flags_.diffusion.steps.value_or(flags_.tokens);
      sweep_.method = method_text(shape_.diffusion);
    } else {
      DUNLIN_RETURN_IF_ERROR(flags_.diffusion.refuse_all());
    }
    const auto now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
    sweep_.model = flags_.model;
    sweep_.family = source.program.model;
    sweep_.parameters = source.parameters;
    sweep_.prompt_tokens = flags_.prompt;
    sweep_.answer_tokens = flags_.tokens;
    sweep_.date = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(now));
    sweep_.cpu = cpu_features().model;
    sweep_.cores = cpu_features().cores;
    sweep_.build = fmt::format("{} ({})", version(), compiler_version());
    sweep_.free_bytes = available_bytes();
    sweep_.load_average = load_average();
    return {};
  }

  Result<void> load() {
    DUNLIN_ASSIGN_OR_RETURN(ModelOptions options, flags_.backend.options());
    options.threads = flags_.threads;
    options.rows = flags_.step.rows();
    options.layers = flags_.layers;
    options.disabled = disabled_optimizations(flags_.disable);
    std::optional<ModelOptions> other;
    if (!flags_.compare.empty()) {
      other = other_options(options, flags_.compare);
      if (!other) {
        DUNLIN_ASSIGN_OR_RETURN(of_file_, read_sweep_side(flags_.compare));
      }
    }
    DUNLIN_RETURN_IF_ERROR(add_side(options));
    if (!other) return {};
    const auto added = add_side(*other);
    if (added.ok() || added.error().kind != ErrorKind::does_not_fit) return added;
    return Error{ErrorKind::does_not_fit,
                 fmt::format("{}; both sides are in memory at a time: run each by itself with "
                             "--json, and --compare the file of the other",
                             added.error().message)};
  }

  Result<void> add_side(const ModelOptions& options) {
    note("loading for {}\n", side_name(options));
    DUNLIN_ASSIGN_OR_RETURN(
        auto side, RunningSide::create(flags_.model, options, batches_, shape_, diffusion_));
    for (const std::string& issue : side->measured().issues) note("{}\n", issue);
    sides_.push_back(std::move(side));
    return {};
  }

  // Repetitions of the sides alternate, so that what else the machine does hits both.
  Result<void> measure_all() {
    if (!flags_.json) fmt::print("{}", markdown_header(kSweepColumns));
    for (const int64_t batch : batches_) {
      std::vector<RunningSide*> taking;
      for (const auto& side : sides_) {
        if (side->holds(batch)) taking.push_back(side.get());
      }
      if (taking.empty()) return {};
      for (RunningSide* const side : taking) DUNLIN_RETURN_IF_ERROR(stopped_or(side->begin(batch)));
      for (int64_t i = 0; i < flags_.repetitions && pending_interrupt() == 0; ++i) {
        for (RunningSide* const side : taking) DUNLIN_RETURN_IF_ERROR(stopped_or(side->measure()));
      }
      if (pending_interrupt() != 0) return {};
      for (RunningSide* const side : taking) print(side->finish(), side->measured());
    }
    return {};
  }

  // An interrupt is no error of a run: run() has its exit code.
  static Result<void> stopped_or(Result<void> result) {
    return pending_interrupt() != 0 ? Result<void>() : std::move(result);
  }

  void print(const SweepRow* row, const SweepSide& side) const {
    if (row == nullptr) {
      if (!side.issues.empty()) note("{}: {}\n", side.name, side.issues.back());
      return;
    }
    if (flags_.json) return;
    const std::vector<std::string> cells = {
        side.name,
        fmt::to_string(row->batch),
        fmt::format("{:.3f}", row->first_seconds),
        fmt::format("{:.3f} ± {:.3f}", mean(row->seconds), standard_deviation(row->seconds)),
        fmt::format("{:.1f}", row->tokens_per_second()),
        fmt::format("{:.2f}", row->tokens_per_forward)};
    fmt::print("{}", markdown_row(kSweepColumns, cells));
    std::fflush(stdout);
  }

  Result<int> publish() {
    for (const auto& side : sides_) sweep_.sides.push_back(side->measured());
    if (of_file_) sweep_.sides.push_back(*of_file_);
    if (!flags_.report.empty()) DUNLIN_RETURN_IF_ERROR(write_sweep_report(sweep_, flags_.report));
    if (flags_.json) {
      fmt::print("{}\n", json_line(sweep_json(sweep_)));
    } else {
      for (const SweepSide& side : sweep_.sides) {
        if (const SweepRow* const best = side.best(); best != nullptr) {
          fmt::print("\n{}: optimal batch {}, {:.1f} tokens per second", side.name, best->batch,
                     best->tokens_per_second());
        }
      }
      fmt::print("\n");
    }
    return compare();
  }

  Result<int> compare() const {
    if (!flags_.fail_if || sweep_.sides.size() < 2) return 0;
    const SweepRow* const ours = sweep_.sides[0].best();
    const SweepRow* const theirs = sweep_.sides[1].best();
    if (ours == nullptr || theirs == nullptr) return runtime_error("nothing was measured");
    const double least = theirs->tokens_per_second() * (1.0 - *flags_.fail_if / 100.0);
    if (ours->tokens_per_second() >= least) return 0;
    return Error{ErrorKind::verification,
                 fmt::format("{:.1f} tokens per second are more than {} % below the {:.1f} of {}",
                             ours->tokens_per_second(), *flags_.fail_if,
                             theirs->tokens_per_second(), sweep_.sides[1].name)};
  }

  const SweepFlags& flags_;
  std::vector<int64_t> batches_ = {};
  bool diffusion_ = false;
  GenerationShape shape_ = {};
  Sweep sweep_ = {};
  std::vector<std::unique_ptr<RunningSide>> sides_ = {};
  std::optional<SweepSide> of_file_ = std::nullopt;
};

// What is generated, and how it is measured.
void add_sweep_flags(Command command, SweepFlags& flags) {
  add_flag(command, "model,-m,--model", flags.model,
           "Hugging Face directory, .gguf file, or the name of a model that was pulled")
      .required()
      .type_name("MODEL")
      .check(not_empty())
      .transform(resolve_model);
  add_flag(command, "--batch", flags.batches, "answers at a time (1,2,4,8,16,32)")
      .check(batch_list());
  add_flag(command, "-p,--n-prompt", flags.prompt, "tokens of each prompt")
      .check(in_range(1, 1 << 20));
  add_flag(command, "-n,--n-gen", flags.tokens, "tokens of each answer")
      .check(in_range(1, 1 << 20));
  add_flag(command, "--temp,--temperature", flags.temperature, "temperature; 0 is greedy")
      .check(in_real_range(0.0, 100.0));
  add_flag(command, "-r,--repetitions", flags.repetitions, "how often each batch is timed")
      .check(in_range(1, 1000));
  add_flag(command, "--compare", flags.compare,
           "measure beside it: a back end (cpu, reference, pjrt, pjrt:gpu) or a profile (auto, "
           "exact, f32); or a file of an earlier --json")
      .type_name("WHAT")
      .check(not_empty());
  add_flag(command, "--fail-if", flags.fail_if,
           "exit code 6 when the peak is more than so many percent below that of --compare")
      .check(in_real_range(0.0, 100.0));
  add_flag(command, "--report", flags.report,
           "write report.md, throughput.svg and sweep.json into this folder")
      .type_name("FOLDER")
      .check(not_empty());
}

}  // namespace

void add_bench_sweep(Command bench, int& exit_code) {
  Command command =
      bench.add_command("sweep", "Throughput by the size of the batch, to where memory ends");
  auto flags = std::make_shared<SweepFlags>();
  add_sweep_flags(command, *flags);
  flags->diffusion.add_schedule_to(command);
  add_flag(command, "-t,--threads", flags->threads, "threads (0: one per core)")
      .check(in_range(0, 1024));
  flags->step.add_to(command);
  flags->backend.add_to(command);
  add_layers_flag(command, flags->layers, "run only the first N layers");
  add_disable_flag(command, flags->disable);
  add_switch(command, "--json", flags->json, "print one JSON object");
  command.footer(
      "Whole answers to random prompts; nothing ends one before its length. A batch that memory\n"
      "does not hold ends the sweep, and a line says so.\n"
      "Examples:\n"
      "  dunlin bench sweep dream/ -p 32 -n 50 --steps 25 --temp 0.3 --report sweep\n"
      "  dunlin bench sweep dream/ --dlm-cache dual --block-length 8 --batch 1,2,4,8\n"
      "  dunlin bench sweep model.gguf --compare exact\n"
      "  dunlin bench sweep model/ --backend pjrt --device gpu --compare cpu --json > gpu.json\n"
      "  dunlin bench sweep model.gguf --compare before.json --fail-if 5");
  command.callback([flags, &exit_code] {
    const auto result = SweepRun(*flags).run();
    exit_code = result.ok() ? *result : report_error(result.error());
  });
}

}  // namespace dunlin
