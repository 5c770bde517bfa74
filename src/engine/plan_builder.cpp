#include "engine/plan_builder.h"

#include <algorithm>

namespace dunlin {

PlanBuilder::PlanBuilder(const Program& program, const StepLimits& limits) {
  const auto rows = static_cast<size_t>(limits.rows);
  const auto sequences = static_cast<size_t>(limits.sequences);
  const auto pages_each = static_cast<size_t>((limits.context + kPageTokens - 1) / kPageTokens);
  plan_.segments.reserve(sequences);
  plan_.tokens.reserve(rows);
  plan_.positions.reserve(rows);
  plan_.logit_rows.reserve(static_cast<size_t>(limits.logit_rows));
  plan_.lengths.reserve(sequences);
  plan_.row_steps.reserve(sequences);
  plan_.stop_ids.reserve(sequences * size_t{kStopIdsOfRow});
  plan_.tables.resize(program.kv_groups.size());
  for (KvTable& table : plan_.tables) {
    table.first.reserve(sequences + 1);
    table.pages.reserve(sequences * pages_each);
  }
  plan_.moves.reserve(sequences * program.kv_groups.size());
  slots_.reserve(sequences);
}

void PlanBuilder::begin() {
  plan_.segments.clear();
  plan_.tokens.clear();
  plan_.positions.clear();
  plan_.logit_rows.clear();
  plan_.lengths.clear();
  plan_.steps = 1;
  plan_.row_steps.clear();
  plan_.stop_ids.clear();
  plan_.whole_rows = true;
  slots_.clear();
}

void PlanBuilder::add_rows(int32_t slot, std::span<const int32_t> tokens, int64_t first,
                           RowClass row_class) {
  const auto rows = static_cast<int32_t>(tokens.size());
  if (!plan_.segments.empty() && plan_.segments.back().rows_each == rows &&
      plan_.segments.back().row_class == row_class) {
    ++plan_.segments.back().sequences;
  } else {
    plan_.segments.push_back({1, rows, row_class});
  }
  for (int32_t i = 0; i < rows; ++i) {
    plan_.tokens.push_back(tokens[static_cast<size_t>(i)]);
    plan_.positions.push_back(static_cast<int32_t>(first) + i);
  }
  slots_.push_back(slot);
}

void PlanBuilder::add(int32_t slot, std::span<const int32_t> tokens, int64_t first,
                      RowClass row_class, LogitRows logit_rows) {
  const auto begin = static_cast<int32_t>(plan_.tokens.size());
  const auto end = begin + static_cast<int32_t>(tokens.size());
  add_rows(slot, tokens, first, row_class);
  if (logit_rows == LogitRows::none) return;
  for (int32_t row = logit_rows == LogitRows::all ? begin : end - 1; row < end; ++row)
    plan_.logit_rows.push_back(row);
}

void PlanBuilder::repeat(int64_t steps, std::span<const int32_t> stop_ids) {
  plan_.steps = std::max(plan_.steps, static_cast<int32_t>(steps));
  plan_.row_steps.push_back(static_cast<int32_t>(steps));
  for (size_t i = 0; i < size_t{kStopIdsOfRow}; ++i)
    plan_.stop_ids.push_back(i < stop_ids.size() ? stop_ids[i] : -1);
}

void PlanBuilder::add_canvas(int32_t slot, std::span<const int32_t> tokens, int64_t first,
                             int64_t length, RowClass row_class,
                             std::span<const int32_t> logit_rows) {
  const auto begin = static_cast<int32_t>(plan_.tokens.size());
  add_rows(slot, tokens, first, row_class);
  for (const int32_t row : logit_rows) plan_.logit_rows.push_back(begin + row);
  plan_.lengths.push_back(static_cast<int32_t>(length));
}

const StepPlan& PlanBuilder::finish(KvCache& cache) {
  for (size_t group = 0; group < plan_.tables.size(); ++group)
    cache.table(slots_, static_cast<int32_t>(group), plan_.tables[group]);
  cache.take_moves(plan_.moves);
  return plan_;
}

}  // namespace dunlin
