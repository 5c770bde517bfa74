#include "backend/cpu/expert_groups.h"

#include <algorithm>

namespace dunlin::cpu {

ExpertGroups::ExpertGroups(int64_t experts, int64_t per_row, int64_t most_rows, bool grouped)
    : experts_(experts), per_row_(per_row), choices_(most_rows * per_row), grouped_(grouped) {}

int64_t ExpertGroups::bytes() const {
  constexpr int64_t kOfChoice = sizeof(ExpertGroup) + 3 * sizeof(int64_t);
  return choices_ * kOfChoice + experts_ * int64_t{sizeof(int64_t)};
}

void ExpertGroups::lay_out(std::byte* memory) noexcept {
  static_assert(alignof(ExpertGroup) <= alignof(int64_t));
  const auto choices = static_cast<size_t>(choices_);
  groups_ = {reinterpret_cast<ExpertGroup*>(memory), choices};
  auto* next = reinterpret_cast<int64_t*>(memory + groups_.size_bytes());
  const auto take = [&next](size_t count) {
    const std::span<int64_t> table(next, count);
    next += count;
    return table;
  };
  choice_at_ = take(choices);
  group_at_ = take(choices);
  place_of_ = take(choices);
  next_place_ = take(static_cast<size_t>(experts_));
}

void ExpertGroups::read(std::byte* memory, const int32_t* chosen, std::span<const RowRun> runs,
                        bool one_class) noexcept {
  lay_out(memory);
  count_ = 0;
  const auto take = [&](int64_t first, int64_t end, RowClass row_class) {
    if (grouped_) {
      sort(chosen, first * per_row_, end * per_row_, row_class);
    } else {
      list(chosen, first * per_row_, end * per_row_, row_class);
    }
  };
  if (runs.empty()) return;
  if (one_class) return take(runs.front().first, runs.back().end, RowClass::prompt);
  for (const RowRun& run : runs) take(run.first, run.end, run.row_class);
}

int64_t ExpertGroups::expert_of(int32_t chosen) const noexcept {
  return std::clamp<int64_t>(chosen, 0, experts_ - 1);
}

// Counting sort of choices [begin, end): rows of an expert stay in their order.
void ExpertGroups::sort(const int32_t* chosen, int64_t begin, int64_t end,
                        RowClass row_class) noexcept {
  std::ranges::fill(next_place_, int64_t{0});
  for (int64_t i = begin; i < end; ++i) ++next_place_[static_cast<size_t>(expert_of(chosen[i]))];
  int64_t first = begin;
  for (int64_t expert = 0; expert < experts_; ++expert) {
    int64_t& next = next_place_[static_cast<size_t>(expert)];
    const int64_t rows = next;
    next = first;
    if (rows == 0) continue;
    const auto group = static_cast<int64_t>(count_);
    add({expert, row_class, first, rows});
    std::fill_n(group_at_.begin() + first, rows, group);
    first += rows;
  }
  for (int64_t i = begin; i < end; ++i) {
    int64_t& next = next_place_[static_cast<size_t>(expert_of(chosen[i]))];
    choice_at_[static_cast<size_t>(next)] = i;
    place_of_[static_cast<size_t>(i)] = next;
    ++next;
  }
}

void ExpertGroups::list(const int32_t* chosen, int64_t begin, int64_t end,
                        RowClass row_class) noexcept {
  for (int64_t i = begin; i < end; ++i) {
    const auto index = static_cast<size_t>(i);
    group_at_[index] = static_cast<int64_t>(count_);
    add({expert_of(chosen[i]), row_class, i, 1});
    choice_at_[index] = i;
    place_of_[index] = i;
  }
}

}  // namespace dunlin::cpu
