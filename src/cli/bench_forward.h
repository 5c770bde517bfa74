// `dunlin bench forward`: the time of one forward pass over a batch of sequences, without tokenizer
// and sampling.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "cli/command.h"
#include "engine/kv_options.h"
#include "engine/model.h"
#include "engine/plan_builder.h"
#include "step/step.h"

namespace dunlin {

// Which rows have logits: a canvas wants those of all its masks, a prompt that of its last token.
enum class ForwardLogits : uint8_t { last, all };

// Passes over sequences of random tokens that begin at position 0: prompts of a model that writes
// token after token, canvases of one that fills in masks.
class ForwardBench {
 public:
  // `model` outlives it. Errors: no memory for the KV cache.
  static Result<ForwardBench> create(Model& model);

  // The pass that run() makes from now on, of `batch` sequences of `tokens` each. `first` > 0: of
  // canvases, only of the rows from there on, as a pass over a block; those before it are what an
  // earlier pass left. Errors: what the model's limits do not hold.
  Result<void> prepare(int64_t batch, int64_t tokens, ForwardLogits logits, int64_t first = 0);
  // Seconds of one pass. Errors: of the device.
  Result<double> run();

 private:
  explicit ForwardBench(Model& model);

  Result<void> open_slots(int64_t batch);

  Model* model_;
  KvMemory kv_ = {};
  std::vector<int32_t> slots_ = {};
  PlanBuilder builder_;
  const StepPlan* plan_ = nullptr;
  StepOutput output_ = {};
};

void add_bench_forward(Command bench, int& exit_code);

}  // namespace dunlin
