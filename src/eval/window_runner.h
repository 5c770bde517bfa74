// WindowRunner: runs windows of a text through a model, several sequences in a step, and gives the
// logits of the rows that are scored.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine/kv_options.h"
#include "engine/model.h"
#include "eval/windows.h"
#include "step/step.h"

namespace dunlin {

// What it does, to require_autoregressive().
inline constexpr const char* kScoring = "scoring a text";

class WindowRunner {
 public:
  // `model` outlives the runner. Errors: no memory for the KV cache; a model that fills in masks (kind
  // usage).
  static Result<WindowRunner> create(Model& model);

  // Forgets everything; `windows` empty sequences, at most the model's, are there now.
  Result<void> begin(int64_t windows);

  // Computes one step of plan_window_steps() within the model's limits; `tokens` are those of the
  // pieces' rows, one after the other. One row of logits for each scored row, in order; valid until
  // the next run. Errors: validate().
  Result<const StepOutput*> run(std::span<const WindowPiece> step, std::span<const int32_t> tokens);

 private:
  explicit WindowRunner(Model& model) : model_(&model) {}
  void fill_plan(std::span<const WindowPiece> step, std::span<const int32_t> tokens);

  Model* model_;
  KvMemory kv_ = {};
  std::vector<int32_t> slots_ = {};  // by window of the group
  StepPlan plan_ = {};
  StepOutput output_ = {};
};

}  // namespace dunlin
