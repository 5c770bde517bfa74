// SequenceRunner: one sequence of a model, driven step by step without text and sampling, for
// parity and benchmarks.
//
// Where `kv-cache` is disabled (engine/optimizations.h), the first run after one whose logits were
// wanted computes everything before it again, with the classes that the rows had.
#pragma once

#include <cstdint>
#include <span>

#include "base/result.h"
#include "engine/kv_options.h"
#include "engine/model.h"
#include "engine/plan_builder.h"
#include "step/step.h"

namespace dunlin {

class SequenceRunner {
 public:
  // `model` outlives the runner. Errors: no memory for the KV cache.
  static Result<SequenceRunner> create(Model& model);

  using LogitRows = dunlin::LogitRows;

  // Computes the tokens at the positions after length() in one step and keeps them. Errors (kind
  // usage): more rows than the model's limits, a token outside the vocabulary, a full context. The
  // output is valid until the next run.
  Result<const StepOutput*> run(std::span<const int32_t> tokens, RowClass row_class,
                                LogitRows logit_rows);

  int64_t length() const { return kv_.cache->length(slot_); }
  // Forgets positions from `length` on; an error where a windowed group has let go of what is
  // needed.
  Result<void> truncate(int64_t length) { return kv_.cache->truncate(slot_, length); }
  // Forgets everything.
  Result<void> reset();

  uint64_t kv_bytes() const { return kv_.state->bytes(); }

 private:
  explicit SequenceRunner(Model& model);
  Result<const StepOutput*> step(std::span<const int32_t> tokens, RowClass row_class,
                                 LogitRows logit_rows);
  Result<void> compute_again();

  Model* model_;
  KvMemory kv_ = {};
  int32_t slot_ = -1;
  PlanBuilder builder_;
  StepOutput output_ = {};
  bool pass_ended_ = false;  // logits were wanted in the last run
};

}  // namespace dunlin
