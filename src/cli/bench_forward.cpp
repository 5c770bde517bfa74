#include "cli/bench_forward.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <utility>

#include "base/check.h"
#include "cli/answer.h"
#include "cli/bench_batches.h"
#include "cli/bench_model.h"
#include "cli/inside_flags.h"
#include "cli/interrupt.h"
#include "cli/model_name.h"
#include "cli/options.h"
#include "cli/plan_source.h"
#include "cli/terminal.h"
#include "cli/this_cpu.h"
#include "models/registry.h"
#include "report/table.h"

namespace dunlin {

ForwardBench::ForwardBench(Model& model) : model_(&model), builder_(model.program, model.limits) {}

Result<ForwardBench> ForwardBench::create(Model& model) {
  ForwardBench bench(model);
  DUNLIN_ASSIGN_OR_RETURN(bench.kv_, make_kv_memory(model, model.limits.sequences));
  return bench;
}

Result<void> ForwardBench::prepare(int64_t batch, int64_t tokens, ForwardLogits logits,
                                   int64_t first) {
  DUNLIN_CHECK(first == 0 || model_->diffusion, "a prompt is computed from its beginning");
  // The same slots keep their pages, and with them what earlier passes left there.
  if (std::ssize(slots_) != batch) DUNLIN_RETURN_IF_ERROR(open_slots(batch));
  std::mt19937 random(1);
  const RowClass row_class = first == 0 ? RowClass::prompt : RowClass::generated;
  std::vector<int32_t> ids(static_cast<size_t>(tokens - first));
  std::vector<int32_t> rows(ids.size());
  std::iota(rows.begin(), rows.end(), 0);
  std::span<const int32_t> wanted = rows;
  if (logits == ForwardLogits::last) wanted = wanted.last(1);
  builder_.begin();
  for (const int32_t slot : slots_) {
    for (int32_t& id : ids)
      id = static_cast<int32_t>(random() % static_cast<uint64_t>(model_->vocabulary));
    DUNLIN_RETURN_IF_ERROR(kv_.cache->reserve(slot, tokens));
    if (model_->diffusion) {
      builder_.add_canvas(slot, ids, first, tokens, row_class, wanted);
    } else {
      builder_.add(slot, ids, 0, row_class,
                   logits == ForwardLogits::all ? LogitRows::all : LogitRows::last);
    }
  }
  plan_ = &builder_.finish(*kv_.cache);
  return validate(*plan_, model_->program, model_->limits, *kv_.state);
}

Result<void> ForwardBench::open_slots(int64_t batch) {
  for (const int32_t slot : slots_) kv_.cache->close(slot);
  slots_.clear();
  for (int64_t i = 0; i < batch; ++i) {
    DUNLIN_ASSIGN_OR_RETURN(const KvCache::Opened opened, kv_.cache->open({}));
    slots_.push_back(opened.slot);
  }
  return {};
}

Result<double> ForwardBench::run() {
  const auto start = std::chrono::steady_clock::now();
  model_->executable->run(*plan_, *kv_.state, output_);
  if (output_.failure) return *output_.failure;
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

namespace {

using Json = nlohmann::ordered_json;

struct ForwardFlags {
  std::string model;
  std::vector<std::string> batches;
  int64_t tokens = 128;
  std::string logits = "auto";
  int64_t repetitions = 5;
  int threads = 0;
  BackendFlags backend;
  int64_t layers = -1;
  std::vector<std::string> disable;
  bool json = false;
};

struct ForwardRow {
  int64_t batch = 0;
  double first = 0;  // seconds, with what a device compiles
  std::vector<double> seconds = {};
};

const std::vector<TableColumn> kForwardColumns = {{"batch", true, 5},
                                                  {"tokens", true, 7},
                                                  {"first s", true, 10},
                                                  {"s", true, 22},
                                                  {"tokens/s", true, 12}};

class Forward {
 public:
  explicit Forward(const ForwardFlags& flags) : flags_(flags) {}

  Result<int> run() {
    DUNLIN_ASSIGN_OR_RETURN(const auto batches, parse_batches(flags_.batches, {1, 2, 4, 8}));
    DUNLIN_RETURN_IF_ERROR(choose_logits());
    DUNLIN_ASSIGN_OR_RETURN(const ModelOptions options, flags_.backend.bench_options());
    catch_interrupts();
    DUNLIN_ASSIGN_OR_RETURN(batches_, load_for_batches(
                                          flags_.model, batches,
                                          [&](int64_t batch) { return options_of(options, batch); },
                                          [this](Model& model) { return make_bench(model); }));
    for (const std::string& issue : batches_.issues) note("{}\n", issue);
    const double load = load_average();
    if (!flags_.json) fmt::print("{}", markdown_header(kForwardColumns));
    for (const int64_t batch : batches_.batches) {
      const auto row = measure(batch);
      if (pending_interrupt() != 0) return exit_code_of_signal(pending_interrupt());
      if (!row.ok() && row.error().kind == ErrorKind::does_not_fit && !rows_.empty()) {
        batches_.issues.push_back(
            fmt::format("batch {} does not fit: {}", batch, row.error().message));
        note("{}\n", batches_.issues.back());
        break;
      }
      if (!row.ok()) return row.error();
      rows_.push_back(*row);
      if (!flags_.json) print(*row);
    }
    if (flags_.json) fmt::print("{}\n", json_line(to_json(load)));
    return 0;
  }

 private:
  // What `auto` stands for depends on the family, which is known before weights are read.
  Result<void> choose_logits() {
    DUNLIN_ASSIGN_OR_RETURN(const PlanSource source, open_plan_source(flags_.model, flags_.layers));
    DUNLIN_ASSIGN_OR_RETURN(const auto diffusion, diffusion_of(source.config));
    const bool all = flags_.logits == "auto" ? diffusion.has_value() : flags_.logits == "all";
    logits_ = all ? ForwardLogits::all : ForwardLogits::last;
    return {};
  }

  ModelOptions options_of(ModelOptions options, int64_t batch) const {
    options.threads = flags_.threads;
    options.layers = flags_.layers;
    options.disabled = disabled_optimizations(flags_.disable);
    options.logits_view_k = 0;
    options.context = flags_.tokens;
    options.sequences = batch;
    options.rows = batch * flags_.tokens;
    options.logit_rows = logits_ == ForwardLogits::all ? options.rows : batch;
    return options;
  }

  Result<void> make_bench(Model& model) {
    bench_.reset();
    DUNLIN_ASSIGN_OR_RETURN(bench_, ForwardBench::create(model));
    return {};
  }

  Result<ForwardRow> measure(int64_t batch) {
    ForwardRow row{.batch = batch};
    DUNLIN_RETURN_IF_ERROR(bench_->prepare(batch, flags_.tokens, logits_));
    DUNLIN_ASSIGN_OR_RETURN(row.first, bench_->run());
    for (int64_t i = 0; i < flags_.repetitions && pending_interrupt() == 0; ++i) {
      DUNLIN_ASSIGN_OR_RETURN(const double seconds, bench_->run());
      row.seconds.push_back(seconds);
    }
    return row;
  }

  int64_t tokens_of(const ForwardRow& row) const { return row.batch * flags_.tokens; }
  double rate_of(const ForwardRow& row) const {
    return static_cast<double>(tokens_of(row)) / mean(row.seconds);
  }

  void print(const ForwardRow& row) const {
    const std::vector<std::string> cells = {
        fmt::to_string(row.batch), fmt::to_string(tokens_of(row)), fmt::format("{:.4f}", row.first),
        fmt::format("{:.4f} ± {:.4f}", mean(row.seconds), standard_deviation(row.seconds)),
        fmt::format("{:.1f}", rate_of(row))};
    fmt::print("{}", markdown_row(kForwardColumns, cells));
    std::fflush(stdout);
  }

  Json to_json(double load) const {
    const Model& model = *batches_.model;
    Json json = {{"schema_version", 1},
                 {"model", flags_.model},
                 {"family", model.program.model},
                 {"backend", model.options.backend},
                 {"isa", model.executable->isa()},
                 {"threads", model.executable->threads()},
                 {"precision", precision_name(model.options.precision)},
                 {"kv_type", kv_type_name(*model.options.kv_type)},
                 {"seq_len", flags_.tokens},
                 {"logits", logits_ == ForwardLogits::all ? "all" : "last"},
                 {"load_seconds", model.load_ms / 1e3},
                 {"load_average", load},
                 {"issues", batches_.issues}};
    for (const ForwardRow& row : rows_) {
      json[fmt::format("batch_{}", row.batch)] = {
          {"avg_time_seconds", mean(row.seconds)},
          {"throughput_tokens_per_second", rate_of(row)},
          {"stddev_time_seconds", standard_deviation(row.seconds)},
          {"first_time_seconds", row.first},
          {"samples_seconds", row.seconds}};
    }
    return json;
  }

  const ForwardFlags& flags_;
  ForwardLogits logits_ = ForwardLogits::last;
  BatchModel batches_ = {};
  std::optional<ForwardBench> bench_ = std::nullopt;  // of batches_.model: destroyed before it
  std::vector<ForwardRow> rows_ = {};
};

}  // namespace

void add_bench_forward(Command bench, int& exit_code) {
  Command command =
      bench.add_command("forward", "The time of one forward pass, by the size of the batch");
  auto flags = std::make_shared<ForwardFlags>();
  add_flag(command, "model,-m,--model", flags->model,
           "Hugging Face directory, .gguf file, or the name of a model that was pulled")
      .required()
      .type_name("MODEL")
      .check(not_empty())
      .transform(resolve_model);
  add_flag(command, "--batch", flags->batches, "sequences of a pass (1,2,4,8)").check(batch_list());
  add_flag(command, "--seq-len", flags->tokens, "tokens of each sequence")
      .check(in_range(1, 1 << 20));
  add_flag(command, "--logits", flags->logits,
           "of which tokens: all, as a canvas of a diffusion model, or the last, as a prompt")
      .check(one_of({"auto", "all", "last"}));
  add_flag(command, "-r,--repetitions", flags->repetitions, "how often each pass is timed")
      .check(in_range(1, 1000));
  add_flag(command, "-t,--threads", flags->threads, "threads (0: one per core)")
      .check(in_range(0, 1024));
  flags->backend.add_to(command);
  add_layers_flag(command, flags->layers, "run only the first N layers");
  add_disable_flag(command, flags->disable);
  add_switch(command, "--json", flags->json, "print one JSON object");
  command.footer(
      "The first pass of each batch is timed by itself; a device compiles in it.\n"
      "Batches that memory does not hold are left out, and a line says so.\n"
      "Examples:\n"
      "  dunlin bench forward dream/ --batch 1,2,4,8 --seq-len 128\n"
      "  dunlin bench forward model.gguf --batch 1-16*2 --logits all --json");
  command.callback([flags, &exit_code] {
    const auto result = Forward(*flags).run();
    exit_code = result.ok() ? *result : report_error(result.error());
  });
}

}  // namespace dunlin
