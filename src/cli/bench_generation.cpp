#include "cli/bench_generation.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "cli/interrupt.h"
#include "engine/diffusion_runner.h"
#include "engine/engine.h"

namespace dunlin {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

Error interrupted() {
  return runtime_error("interrupted");
}

// Random ids, none of them a mask.
class Prompts {
 public:
  Prompts(const Model& model, int64_t tokens)
      : vocabulary_(model.vocabulary),
        mask_(model.diffusion ? model.diffusion->mask_id : -1),
        tokens_(tokens) {}

  std::vector<int32_t> next() {
    std::vector<int32_t> ids(static_cast<size_t>(tokens_));
    for (int32_t& id : ids) {
      id = static_cast<int32_t>(random_() % static_cast<uint64_t>(vocabulary_));
      if (id == mask_) id = id > 0 ? id - 1 : 1;
    }
    return ids;
  }

 private:
  int64_t vocabulary_;
  int32_t mask_;
  int64_t tokens_;
  std::mt19937 random_{1};
};

class TokenGeneration : public GenerationBench {
 public:
  TokenGeneration(const Model& model, const GenerationShape& shape, Engine engine)
      : shape_(shape), prompts_(model, shape.prompt), engine_(std::move(engine)) {}

  Result<Generation> run(int64_t batch) override {
    Generation generation{.tokens_per_forward = 1};
    std::optional<Error> failed;
    const SamplingParams sampling{.temperature = shape_.temperature, .seed = 1};
    const auto receive = [&](const Event& event) {
      if (event.token.has_value()) ++generation.tokens;
      if (event.error.has_value()) failed = event.error;
    };
    for (int64_t i = 0; i < batch; ++i) {
      const auto submitted = engine_.submit({.prompt = prompts_.next(),
                                             .sampling = sampling,
                                             .max_tokens = shape_.tokens,
                                             .ignore_eos = true},
                                            receive);
      if (!submitted.ok()) return submitted.error();
    }
    const int64_t steps = engine_.stats().steps;
    const auto start = Clock::now();
    while (engine_.step()) {
      if (pending_interrupt() != 0) return interrupted();
    }
    generation.seconds = seconds_since(start);
    generation.forward_passes = engine_.stats().steps - steps;
    if (failed.has_value()) return *failed;
    return generation;
  }

 private:
  GenerationShape shape_;
  Prompts prompts_;
  Engine engine_;
};

class CanvasGeneration : public GenerationBench {
 public:
  CanvasGeneration(const Model& model, const GenerationShape& shape, DiffusionRunner runner)
      : shape_(shape), prompts_(model, shape.prompt), runner_(std::move(runner)) {}

  Result<Generation> run(int64_t batch) override {
    std::vector<std::unique_ptr<DiffusionCanvas>> canvases;
    const auto generation = fill_in(batch, canvases);
    for (const auto& canvas : canvases) runner_.close(*canvas);
    return generation;
  }

 private:
  Result<Generation> fill_in(int64_t batch,
                             std::vector<std::unique_ptr<DiffusionCanvas>>& canvases) {
    DiffusionParams params = shape_.diffusion;
    params.max_tokens = shape_.tokens;
    params.temperature = shape_.temperature;
    params.end_ids.clear();
    std::vector<DiffusionCanvas*> all;
    for (int64_t i = 0; i < batch; ++i) {
      DUNLIN_ASSIGN_OR_RETURN(std::unique_ptr<DiffusionCanvas> canvas,
                              runner_.open(prompts_.next(), params));
      all.push_back(canvas.get());
      canvases.push_back(std::move(canvas));
    }
    Generation generation;
    const auto start = Clock::now();
    for (bool more = true; more;) {
      if (pending_interrupt() != 0) return interrupted();
      DUNLIN_ASSIGN_OR_RETURN(const auto advanced, runner_.step(all));
      more = !advanced.empty();
      if (more) ++generation.forward_passes;
    }
    generation.seconds = seconds_since(start);
    int64_t passes = 0;
    for (const DiffusionCanvas* const canvas : all) {
      if (canvas->error.has_value()) return *canvas->error;
      passes += canvas->decoder.forward_passes();
    }
    generation.tokens = batch * shape_.tokens;
    generation.tokens_per_forward =
        static_cast<double>(generation.tokens) / static_cast<double>(std::max<int64_t>(1, passes));
    return generation;
  }

  GenerationShape shape_;
  Prompts prompts_;
  DiffusionRunner runner_;
};

}  // namespace

ModelOptions generation_options(ModelOptions options, const GenerationShape& shape, int64_t batch,
                                bool diffusion) {
  options.context = shape.prompt + shape.tokens;
  options.sequences = batch;
  options.new_tokens = shape.tokens;
  // All canvases in one pass.
  if (diffusion) options.rows = batch * options.context;
  return options;
}

Result<std::unique_ptr<GenerationBench>> make_generation_bench(Model& model,
                                                               const GenerationShape& shape) {
  using Bench = std::unique_ptr<GenerationBench>;
  if (model.diffusion) {
    DUNLIN_ASSIGN_OR_RETURN(DiffusionRunner runner, DiffusionRunner::create(model));
    return Bench(std::make_unique<CanvasGeneration>(model, shape, std::move(runner)));
  }
  DUNLIN_ASSIGN_OR_RETURN(Engine engine, make_engine(model));
  return Bench(std::make_unique<TokenGeneration>(model, shape, std::move(engine)));
}

}  // namespace dunlin
