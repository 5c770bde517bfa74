// Which rows go through which expert: the choices of a step in the order of experts, so that each
// expert's weights are read once for all rows that chose it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backend/api.h"
#include "backend/cpu/step_tables.h"

namespace dunlin::cpu {

// Places [first, first + rows) of the order: one expert and one row class.
struct ExpertGroup {
  int64_t expert;
  RowClass row_class;
  int64_t first;
  int64_t rows;
};

class ExpertGroups {
 public:
  // Allocates for the largest step. Ungrouped: every choice is a group of its own, in the order of
  // rows.
  ExpertGroups(int64_t experts, int64_t per_row, int64_t most_rows, bool grouped);

  // `chosen` [rows, per_row]; numbers that no expert has count as the nearest. `runs` cover the rows;
  // with one_class all rows are of class prompt.
  void read(const int32_t* chosen, std::span<const RowRun> runs, bool one_class) noexcept;

  std::span<const ExpertGroup> groups() const { return groups_; }
  int64_t row_at(int64_t place) const { return choice_at_[static_cast<size_t>(place)] / per_row_; }
  int64_t group_at(int64_t place) const { return group_at_[static_cast<size_t>(place)]; }
  // Place of choice number `choice` of `row`.
  int64_t place_of(int64_t row, int64_t choice) const {
    return place_of_[static_cast<size_t>(row * per_row_ + choice)];
  }

 private:
  int64_t expert_of(int32_t chosen) const noexcept;
  void sort(const int32_t* chosen, int64_t begin, int64_t end, RowClass row_class) noexcept;
  void list(const int32_t* chosen, int64_t begin, int64_t end, RowClass row_class) noexcept;

  int64_t experts_;
  int64_t per_row_;
  bool grouped_;
  std::vector<ExpertGroup> groups_;
  std::vector<int64_t> choice_at_;   // by place: row * per_row + choice
  std::vector<int64_t> group_at_;    // by place
  std::vector<int64_t> place_of_;    // by choice
  std::vector<int64_t> next_place_;  // by expert, while sorting
};

}  // namespace dunlin::cpu
