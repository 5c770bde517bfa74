#include "cli/bench_diffusion.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <random>
#include <utility>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "cli/bench_forward.h"
#include "cli/bench_profile.h"
#include "engine/diffusion_runner.h"
#include "models/registry.h"

namespace dunlin {
namespace {

using Clock = std::chrono::steady_clock;

int64_t nanoseconds_of(double seconds) {
  return std::max<int64_t>(1, static_cast<int64_t>(seconds * 1e9));
}

class CanvasBench : public TestBench {
 public:
  CanvasBench(const Model& model, DiffusionParams params, bool steps_follow_tokens,
              ForwardBench passes, DiffusionRunner runner)
      : executable_(model.executable.get()),
        vocabulary_(model.vocabulary),
        mask_(model.diffusion->mask_id),
        params_(std::move(params)),
        steps_follow_tokens_(steps_follow_tokens),
        passes_(std::move(passes)),
        runner_(std::move(runner)) {}

  Result<BenchSamples> measure(const BenchTest& test, int64_t repetitions, bool warm_up) override {
    return test.generate == 0 ? measure_pass(test, repetitions, warm_up)
                              : measure_answer(test, repetitions, warm_up);
  }

  Result<void> profile(const BenchTest& test, Profile& profile) override {
    if (test.generate == 0) DUNLIN_RETURN_IF_ERROR(prepare_pass(test));
    return record_while(*executable_, profile, [&]() -> Result<void> {
      BenchSamples samples;
      const auto seconds = test.generate == 0 ? passes_.run() : fill_in(test, samples);
      return seconds.ok() ? Result<void>() : Result<void>(seconds.error());
    });
  }

 private:
  // The keys and values of the positions before a block, then the pass that is measured.
  Result<void> prepare_pass(const BenchTest& test) {
    const int64_t length = test.depth + test.prompt;
    if (test.depth > 0) {
      DUNLIN_RETURN_IF_ERROR(passes_.prepare(1, length, ForwardLogits::last));
      if (const auto whole = passes_.run(); !whole.ok()) return whole.error();
    }
    return passes_.prepare(1, length, ForwardLogits::all, test.depth);
  }

  Result<BenchSamples> measure_pass(const BenchTest& test, int64_t repetitions, bool warm_up) {
    DUNLIN_RETURN_IF_ERROR(prepare_pass(test));
    if (warm_up) {
      if (const auto warm = passes_.run(); !warm.ok()) return warm.error();
    }
    BenchSamples samples{.tokens = test.prompt, .weight_passes = 1};
    samples.passes.push_back(shape_of(test.prompt, test.prompt, test.depth + test.prompt));
    for (int64_t i = 0; i < repetitions; ++i) {
      const DevicePrograms before = executable_->programs();
      DUNLIN_ASSIGN_OR_RETURN(const double seconds, passes_.run());
      samples.nanoseconds.push_back(nanoseconds_of(seconds));
      add_programs(before, executable_->programs(), samples.timed_programs);
    }
    return samples;
  }

  Result<BenchSamples> measure_answer(const BenchTest& test, int64_t repetitions, bool warm_up) {
    BenchSamples samples{.tokens = test.tokens()};
    if (warm_up) {
      if (const auto warm = fill_in(test, samples); !warm.ok()) return warm.error();
      samples.pass_times.clear();
    }
    for (int64_t i = 0; i < repetitions; ++i) {
      const DevicePrograms before = executable_->programs();
      DUNLIN_ASSIGN_OR_RETURN(const double seconds, fill_in(test, samples));
      samples.nanoseconds.push_back(nanoseconds_of(seconds));
      add_programs(before, executable_->programs(), samples.timed_programs);
    }
    samples.weight_passes = std::ssize(samples.passes);
    samples.tokens_per_forward = static_cast<double>(test.generate) /
                                 static_cast<double>(std::max<int64_t>(1, samples.weight_passes));
    return samples;
  }

  // Seconds of one answer; its passes are those of `samples`, and their times are added there.
  Result<double> fill_in(const BenchTest& test, BenchSamples& samples) {
    DiffusionParams params = params_;
    params.max_tokens = test.generate;
    if (steps_follow_tokens_) params.steps = test.generate;
    DUNLIN_ASSIGN_OR_RETURN(
        const std::unique_ptr<DiffusionCanvas> canvas,
        runner_.open(random_ids(canvas_positions(test) - test.generate), params));
    samples.passes.clear();
    const auto start = Clock::now();
    const Result<void> filled = run_passes(*canvas, samples);
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    runner_.close(*canvas);
    if (!filled.ok()) return filled.error();
    if (canvas->error.has_value()) return *canvas->error;
    return seconds;
  }

  Result<void> run_passes(DiffusionCanvas& canvas, BenchSamples& samples) {
    const std::array<DiffusionCanvas*, 1> canvases = {&canvas};
    while (!canvas.over()) {
      const DiffusionPass& pass = *canvas.decoder.pending();
      const int64_t rows = pass.rows;  // a step makes another pass pending
      samples.passes.push_back(
          shape_of(rows, std::ssize(pass.logit_rows), std::ssize(canvas.decoder.canvas())));
      const auto start = Clock::now();
      if (const auto advanced = runner_.step(canvases); !advanced.ok()) return advanced.error();
      samples.add_pass(rows, std::chrono::nanoseconds(Clock::now() - start).count());
    }
    return {};
  }

  static StepShape shape_of(int64_t rows, int64_t logit_rows, int64_t length) {
    return {.rows_each = rows,
            .logit_rows = logit_rows,
            .cached = static_cast<double>(length - rows),
            .row_class = rows == length ? RowClass::prompt : RowClass::generated};
  }

  // None of them a mask.
  std::vector<int32_t> random_ids(int64_t count) {
    std::vector<int32_t> ids(static_cast<size_t>(count));
    for (int32_t& id : ids) {
      id = static_cast<int32_t>(random_() % static_cast<uint64_t>(vocabulary_));
      if (id == mask_) id = id > 0 ? id - 1 : 1;
    }
    return ids;
  }

  Executable* executable_;
  int64_t vocabulary_;
  int32_t mask_;
  DiffusionParams params_;
  bool steps_follow_tokens_;
  ForwardBench passes_;
  DiffusionRunner runner_;
  std::mt19937 random_{1};
};

}  // namespace

int64_t canvas_positions(const BenchTest& test) {
  return test.generate + std::max<int64_t>(1, test.depth + test.prompt);
}

Result<bool> is_diffusion_model(const std::string& path) {
  DUNLIN_ASSIGN_OR_RETURN(const auto checkpoint, open_checkpoint(path));
  DUNLIN_ASSIGN_OR_RETURN(const auto diffusion, diffusion_of(checkpoint->config()));
  return diffusion.has_value();
}

Result<std::unique_ptr<TestBench>> make_test_bench(Model& model, const DiffusionFlags& flags) {
  using Bench = std::unique_ptr<TestBench>;
  if (!model.diffusion) {
    DUNLIN_RETURN_IF_ERROR(flags.refuse_all());
    DUNLIN_ASSIGN_OR_RETURN(ModelBench bench, ModelBench::create(model));
    return Bench(std::make_unique<ModelBench>(std::move(bench)));
  }
  SamplingFlags greedy;
  greedy.temperature = 0.0f;
  DUNLIN_ASSIGN_OR_RETURN(DiffusionParams params, flags.params(greedy, model.checkpoint->config()));
  params.steps = flags.steps.value_or(params.steps);
  DUNLIN_ASSIGN_OR_RETURN(ForwardBench passes, ForwardBench::create(model));
  DUNLIN_ASSIGN_OR_RETURN(DiffusionRunner runner, DiffusionRunner::create(model));
  return Bench(std::make_unique<CanvasBench>(model, std::move(params), !flags.steps.has_value(),
                                             std::move(passes), std::move(runner)));
}

}  // namespace dunlin
