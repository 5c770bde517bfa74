// Which rows go through which expert: the choices of a step in the order of experts, so that each
// expert's weights are read once for all rows that chose it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

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
  // Ungrouped: every choice is a group of its own, in the order of rows.
  ExpertGroups(int64_t experts, int64_t per_row, int64_t most_rows, bool grouped);

  // Of the tables for the largest step: they lie in memory of the caller, which many layers share.
  int64_t bytes() const;

  // `memory` has bytes(), aligned for int64_t, and is the tables' until they are not needed any more.
  // `chosen` [rows, per_row]; numbers that no expert has count as the nearest. `runs` cover the rows;
  // with one_class all rows are of class prompt.
  void read(std::byte* memory, const int32_t* chosen, std::span<const RowRun> runs,
            bool one_class) noexcept;

  std::span<const ExpertGroup> groups() const { return groups_.first(count_); }
  int64_t row_at(int64_t place) const { return choice_at(place) / per_row_; }
  // row * per_row + the number of the row's choice.
  int64_t choice_at(int64_t place) const { return choice_at_[static_cast<size_t>(place)]; }
  int64_t group_at(int64_t place) const { return group_at_[static_cast<size_t>(place)]; }
  // Place of choice number `choice` of `row`.
  int64_t place_of(int64_t row, int64_t choice) const {
    return place_of_[static_cast<size_t>(row * per_row_ + choice)];
  }

 private:
  void lay_out(std::byte* memory) noexcept;
  void add(const ExpertGroup& group) noexcept { groups_[count_++] = group; }
  int64_t expert_of(int32_t chosen) const noexcept;
  void sort(const int32_t* chosen, int64_t begin, int64_t end, RowClass row_class) noexcept;
  void list(const int32_t* chosen, int64_t begin, int64_t end, RowClass row_class) noexcept;

  int64_t experts_;
  int64_t per_row_;
  int64_t choices_;  // of the largest step
  bool grouped_;
  size_t count_ = 0;  // of groups
  std::span<ExpertGroup> groups_ = {};
  std::span<int64_t> choice_at_ = {};   // by place: row * per_row + choice
  std::span<int64_t> group_at_ = {};    // by place
  std::span<int64_t> place_of_ = {};    // by choice
  std::span<int64_t> next_place_ = {};  // by expert, while sorting
};

}  // namespace dunlin::cpu
