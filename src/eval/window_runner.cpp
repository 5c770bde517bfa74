#include "eval/window_runner.h"

namespace dunlin {

Result<WindowRunner> WindowRunner::create(Model& model) {
  DUNLIN_RETURN_IF_ERROR(require_autoregressive(model, kScoring));
  WindowRunner runner(model);
  DUNLIN_ASSIGN_OR_RETURN(runner.kv_, make_kv_memory(model, model.limits.sequences));
  return runner;
}

Result<void> WindowRunner::begin(int64_t windows) {
  for (const int32_t slot : slots_) kv_.cache->close(slot);
  slots_.clear();
  for (int64_t i = 0; i < windows; ++i) {
    DUNLIN_ASSIGN_OR_RETURN(const auto opened, kv_.cache->open({}));
    slots_.push_back(opened.slot);
  }
  return {};
}

void WindowRunner::fill_plan(std::span<const WindowPiece> step, std::span<const int32_t> tokens) {
  plan_.segments.clear();
  plan_.positions.clear();
  plan_.logit_rows.clear();
  plan_.tokens.assign(tokens.begin(), tokens.end());
  std::vector<int32_t> slots;
  for (const WindowPiece& piece : step) {
    plan_.segments.push_back({1, static_cast<int32_t>(piece.rows()), RowClass::prompt});
    for (int64_t row = piece.begin; row < piece.end; ++row) {
      if (row >= piece.first_scored_row)
        plan_.logit_rows.push_back(static_cast<int32_t>(plan_.positions.size()));
      plan_.positions.push_back(static_cast<int32_t>(row));
    }
    slots.push_back(slots_[static_cast<size_t>(piece.window)]);
  }
  plan_.tables.resize(model_->program.kv_groups.size());
  for (size_t group = 0; group < plan_.tables.size(); ++group)
    kv_.cache->table(slots, static_cast<int32_t>(group), plan_.tables[group]);
}

Result<const StepOutput*> WindowRunner::run(std::span<const WindowPiece> step,
                                            std::span<const int32_t> tokens) {
  for (const WindowPiece& piece : step)
    DUNLIN_RETURN_IF_ERROR(
        kv_.cache->reserve(slots_[static_cast<size_t>(piece.window)], piece.rows()));
  fill_plan(step, tokens);
  DUNLIN_RETURN_IF_ERROR(validate(plan_, model_->program, model_->limits, *kv_.state));
  model_->executable->run(plan_, *kv_.state, output_);
  if (output_.failure) return *output_.failure;
  for (const WindowPiece& piece : step) {
    const auto rows = static_cast<size_t>(piece.rows());
    kv_.cache->commit(slots_[static_cast<size_t>(piece.window)], tokens.first(rows),
                      RowClass::prompt);
    tokens = tokens.subspan(rows);
  }
  return &output_;
}

}  // namespace dunlin
