#include "engine/sequence_runner.h"

#include <utility>
#include <vector>

namespace dunlin {

Result<SequenceRunner> SequenceRunner::create(Model& model) {
  SequenceRunner runner(model);
  KvCacheOptions options{.slots = 1, .context = model.limits.context, .prefix_index = false};
  const int64_t all_pages = (model.limits.context + kPageTokens - 1) / kPageTokens;
  std::vector<int64_t> pages;
  for (const KvGroup& group : model.program.kv_groups) {
    const int64_t per_slot = model.executable->pages_per_slot(static_cast<int32_t>(pages.size()));
    pages.push_back(per_slot > 0 ? per_slot : all_pages);
    options.groups.push_back(
        {.window = group.window, .pages = pages.back(), .pages_per_slot = per_slot});
  }
  DUNLIN_ASSIGN_OR_RETURN(runner.kv_, model.executable->make_kv_state(pages));
  runner.cache_ = std::make_unique<KvCache>(std::move(options));
  DUNLIN_ASSIGN_OR_RETURN(const auto opened, runner.cache_->open({}));
  runner.slot_ = opened.slot;
  return runner;
}

Result<const StepOutput*> SequenceRunner::run(std::span<const int32_t> tokens, RowClass row_class,
                                              LogitRows logit_rows) {
  const auto rows = static_cast<int32_t>(tokens.size());
  const auto first = static_cast<int32_t>(cache_->length(slot_));
  DUNLIN_RETURN_IF_ERROR(cache_->reserve(slot_, rows));
  plan_.segments.assign({{1, rows, row_class}});
  plan_.tokens.assign(tokens.begin(), tokens.end());
  plan_.positions.clear();
  plan_.logit_rows.clear();
  for (int32_t i = 0; i < rows; ++i) {
    plan_.positions.push_back(first + i);
    const bool last = i + 1 == rows;
    if (logit_rows == LogitRows::all || (logit_rows == LogitRows::last && last))
      plan_.logit_rows.push_back(i);
  }
  plan_.tables.resize(model_->program.kv_groups.size());
  for (size_t group = 0; group < plan_.tables.size(); ++group) {
    cache_->table(std::span(&slot_, 1), static_cast<int32_t>(group), plan_.tables[group]);
  }
  DUNLIN_RETURN_IF_ERROR(validate(plan_, model_->program, model_->limits, *kv_));
  model_->executable->run(plan_, *kv_, output_);
  if (output_.failure) return *output_.failure;
  cache_->commit(slot_, tokens, row_class);
  return &output_;
}

Result<void> SequenceRunner::reset() {
  cache_->close(slot_);
  DUNLIN_ASSIGN_OR_RETURN(const auto opened, cache_->open({}));
  slot_ = opened.slot;
  return {};
}

}  // namespace dunlin
