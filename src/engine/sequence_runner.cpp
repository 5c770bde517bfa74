#include "engine/sequence_runner.h"

#include <utility>
#include <vector>

#include "engine/optimizations.h"

namespace dunlin {

SequenceRunner::SequenceRunner(Model& model)
    : model_(&model), builder_(model.program, model.limits) {}

Result<SequenceRunner> SequenceRunner::create(Model& model) {
  SequenceRunner runner(model);
  DUNLIN_ASSIGN_OR_RETURN(runner.kv_, make_kv_memory(model, 1));
  DUNLIN_ASSIGN_OR_RETURN(const auto opened, runner.kv_.cache->open({}));
  runner.slot_ = opened.slot;
  return runner;
}

Result<const StepOutput*> SequenceRunner::run(std::span<const int32_t> tokens, RowClass row_class,
                                              LogitRows logit_rows) {
  if (pass_ended_ && !model_->uses(kKvCache)) DUNLIN_RETURN_IF_ERROR(compute_again());
  pass_ended_ = logit_rows != LogitRows::none;
  return step(tokens, row_class, logit_rows);
}

// In steps of rows of one class.
Result<void> SequenceRunner::compute_again() {
  const auto held_tokens = kv_.cache->tokens(slot_);
  const auto held_classes = kv_.cache->row_classes(slot_);
  const std::vector<int32_t> tokens(held_tokens.begin(), held_tokens.end());
  const std::vector<RowClass> classes(held_classes.begin(), held_classes.end());
  DUNLIN_RETURN_IF_ERROR(kv_.cache->truncate(slot_, 0));
  const auto most = static_cast<size_t>(model_->limits.rows);
  for (size_t begin = 0; begin < tokens.size();) {
    size_t end = begin;
    while (end < tokens.size() && end - begin < most && classes[end] == classes[begin]) ++end;
    DUNLIN_RETURN_IF_ERROR(
        step(std::span(tokens).subspan(begin, end - begin), classes[begin], LogitRows::none));
    begin = end;
  }
  return {};
}

Result<const StepOutput*> SequenceRunner::step(std::span<const int32_t> tokens, RowClass row_class,
                                               LogitRows logit_rows) {
  const int64_t first = kv_.cache->length(slot_);
  DUNLIN_RETURN_IF_ERROR(kv_.cache->reserve(slot_, std::ssize(tokens)));
  builder_.begin();
  builder_.add(slot_, tokens, first, row_class, logit_rows);
  const StepPlan& plan = builder_.finish(*kv_.cache);
  DUNLIN_RETURN_IF_ERROR(validate(plan, model_->program, model_->limits, *kv_.state));
  model_->executable->run(plan, *kv_.state, output_);
  if (output_.failure) return *output_.failure;
  kv_.cache->commit(slot_, tokens, row_class);
  return &output_;
}

Result<void> SequenceRunner::reset() {
  kv_.cache->close(slot_);
  DUNLIN_ASSIGN_OR_RETURN(const auto opened, kv_.cache->open({}));
  slot_ = opened.slot;
  pass_ended_ = false;
  return {};
}

}  // namespace dunlin
