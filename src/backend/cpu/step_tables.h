// What a StepPlan means to the operations, laid out once per step: rows of each sequence, runs of
// rows of one class, lengths in the cache.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backend/api.h"

namespace dunlin::cpu {

struct SequenceRows {  // rows [first, end) of one sequence
  int64_t first;
  int64_t end;
  RowClass row_class;
  int32_t length;  // positions in the cache once this step's rows are written
};

struct RowRun {  // consecutive rows [first, end) of one class
  int64_t first;
  int64_t end;
  RowClass row_class;
};

class StepTables {
 public:
  explicit StepTables(const StepLimits& limits);  // allocates for the largest step

  void read(const StepPlan& plan) noexcept;

  const SymbolSizes& sizes() const { return sizes_; }
  std::span<const SequenceRows> sequences() const { return sequences_; }
  std::span<const int32_t> row_sequences() const { return row_sequences_; }  // [T]
  // Runs of the dimension that decides a row's class: rows, logit_rows or sequences.
  std::span<const RowRun> runs(Symbol symbol) const;

 private:
  void append(std::vector<RowRun>& runs, int64_t rows, RowClass row_class) noexcept;

  SymbolSizes sizes_;
  std::vector<SequenceRows> sequences_;
  std::vector<int32_t> row_sequences_;
  std::vector<RowRun> row_runs_;
  std::vector<RowRun> logit_row_runs_;
  std::vector<RowRun> sequence_runs_;
};

}  // namespace dunlin::cpu
