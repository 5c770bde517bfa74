// SequenceRunner: one sequence of a model, driven step by step without text and sampling, for
// parity and benchmarks.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/result.h"
#include "cache/kv_cache.h"
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

  int64_t length() const { return cache_->length(slot_); }
  // Forgets positions from `length` on; an error where a windowed group has let go of what is
  // needed.
  Result<void> truncate(int64_t length) { return cache_->truncate(slot_, length); }
  // Forgets everything.
  Result<void> reset();

 private:
  explicit SequenceRunner(Model& model);

  Model* model_;
  std::unique_ptr<KvState> kv_ = {};
  std::unique_ptr<KvCache> cache_ = {};
  int32_t slot_ = -1;
  PlanBuilder builder_;
  StepOutput output_ = {};
};

}  // namespace dunlin
