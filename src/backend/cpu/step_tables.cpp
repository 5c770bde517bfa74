// One pass over the segments and one over the logit rows.
#include "backend/cpu/step_tables.h"

#include <algorithm>

#include "base/check.h"

namespace dunlin::cpu {

StepTables::StepTables(const StepLimits& limits) {
  sequences_.reserve(static_cast<size_t>(limits.sequences));
  row_sequences_.reserve(static_cast<size_t>(limits.rows));
  row_runs_.reserve(static_cast<size_t>(limits.sequences));
  logit_row_runs_.reserve(static_cast<size_t>(limits.logit_rows));
  sequence_runs_.reserve(static_cast<size_t>(limits.sequences));
}

// Within what the constructor reserved, so push_back does not allocate.
void StepTables::append(std::vector<RowRun>& runs, int64_t rows, RowClass row_class) noexcept {
  const int64_t first = runs.empty() ? 0 : runs.back().end;
  if (!runs.empty() && runs.back().row_class == row_class) {
    runs.back().end += rows;
  } else {
    runs.push_back({first, first + rows, row_class});
  }
}

void StepTables::read(const StepPlan& plan) noexcept {
  sequences_.clear();
  row_sequences_.clear();
  row_runs_.clear();
  logit_row_runs_.clear();
  sequence_runs_.clear();
  int64_t row = 0;
  int32_t longest = 0;
  for (const Segment& segment : plan.segments) {
    for (int32_t i = 0; i < segment.sequences; ++i) {
      const size_t sequence = sequences_.size();
      row_sequences_.insert(row_sequences_.end(), static_cast<size_t>(segment.rows_each),
                            static_cast<int32_t>(sequence));
      const int64_t end = row + segment.rows_each;
      const int32_t length = plan.lengths.empty() ? plan.positions[static_cast<size_t>(end - 1)] + 1
                                                  : plan.lengths[sequence];
      sequences_.push_back({row, end, segment.row_class, length});
      append(row_runs_, segment.rows_each, segment.row_class);
      append(sequence_runs_, 1, segment.row_class);
      longest = std::max(longest, length);
      row = end;
    }
  }
  for (const int32_t wanted : plan.logit_rows) {
    const int32_t sequence = row_sequences_[static_cast<size_t>(wanted)];
    append(logit_row_runs_, 1, sequences_[static_cast<size_t>(sequence)].row_class);
  }
  sizes_ = {.rows = row,
            .logit_rows = static_cast<int64_t>(plan.logit_rows.size()),
            .sequences = static_cast<int64_t>(sequences_.size()),
            .slots = longest};
}

std::span<const RowRun> StepTables::runs(Symbol symbol) const {
  switch (symbol) {
    case Symbol::rows:
      return row_runs_;
    case Symbol::logit_rows:
      return logit_row_runs_;
    case Symbol::sequences:
      return sequence_runs_;
    case Symbol::none:
    case Symbol::slots:
      break;
  }
  DUNLIN_CHECK(false, "a dimension without row classes");
  return {};
}

}  // namespace dunlin::cpu
