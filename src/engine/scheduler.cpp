#include "engine/scheduler.h"

#include <algorithm>

#include "base/check.h"

namespace dunlin {

Scheduler::Scheduler(const StepLimits& limits, std::span<const KvCacheGroup> groups, KvCache& cache,
                     Sessions& sessions)
    : limits_(limits), cache_(&cache), sessions_(&sessions) {
  for (size_t group = 0; group < groups.size(); ++group) {
    if (groups[group].window == 0 && groups[group].pages_per_slot == 0)
      growing_groups_.push_back(static_cast<int32_t>(group));
  }
  rows_.reserve(static_cast<size_t>(limits.sequences));
}

bool Scheduler::may_begin(std::span<const Demand> running, int32_t slot, int64_t tokens) {
  if (running.empty()) return true;
  while (!has_pages(running, slot, tokens)) {
    if (!sessions_->close_oldest()) return false;
  }
  return true;
}

// One more page for each sequence: otherwise one that begins could be preempted in the next step.
bool Scheduler::has_pages(std::span<const Demand> running, int32_t slot, int64_t tokens) const {
  return std::ranges::all_of(growing_groups_, [&](int32_t group) {
    int64_t needed = cache_->missing_pages(slot, tokens, group) + 1;
    for (const Demand& demand : running)
      needed += cache_->missing_pages(demand.slot, demand.tokens, group) + 1;
    return needed <= cache_->free_pages(group);
  });
}

std::span<const int64_t> Scheduler::schedule(std::span<const Demand> running,
                                             const Preempt& preempt) {
  rows_.assign(running.size(), 0);
  share_rows(running);
  reserve_pages(running, preempt);
  return rows_;
}

void Scheduler::share_rows(std::span<const Demand> running) {
  int64_t left = limits_.rows;
  for (size_t i = 0; i < running.size(); ++i) {
    if (running[i].prefill) continue;
    rows_[i] = std::min(running[i].rows, left);
    left -= rows_[i];
  }
  for (size_t i = 0; i < running.size() && left > 0; ++i) {
    if (running[i].prefill && rows_[i] == 0) left -= share_prefills(running, i, left);
  }
}

// Gives rows to the oldest prefill that has none yet, and to younger ones when it cannot be
// finished; returns how many.
int64_t Scheduler::share_prefills(std::span<const Demand> running, size_t oldest, int64_t left) {
  if (running[oldest].rows <= left) return rows_[oldest] = running[oldest].rows;
  int64_t allowance = left / 2;
  rows_[oldest] = left;
  for (size_t i = oldest + 1; i < running.size(); ++i) {
    if (!running[i].prefill || running[i].rows > allowance) continue;
    rows_[i] = running[i].rows;
    allowance -= rows_[i];
    rows_[oldest] -= rows_[i];
  }
  return left;
}

void Scheduler::reserve_pages(std::span<const Demand> running, const Preempt& preempt) {
  size_t end = running.size();  // those from here on are preempted
  for (size_t i = 0; i < end; ++i) {
    if (rows_[i] == 0) continue;
    while (i < end && !cache_->fits(running[i].slot, rows_[i])) {
      if (sessions_->close_oldest()) continue;
      DUNLIN_CHECK(end > 1, "the pool of pages does not hold one sequence");
      rows_[--end] = 0;
      preempt(end);
    }
    if (i == end) break;
    const auto reserved = cache_->reserve(running[i].slot, rows_[i]);
    DUNLIN_CHECK(reserved.ok(), reserved.error().message);
  }
}

bool Scheduler::reserve_ahead(std::span<const Demand> running, std::span<const int64_t> positions) {
  const auto end_of = [&](size_t i) { return cache_->length(running[i].slot) + positions[i]; };
  for (const int32_t group : growing_groups_) {
    int64_t needed = 0;
    for (size_t i = 0; i < running.size(); ++i) {
      if (positions[i] > 0) needed += cache_->missing_pages(running[i].slot, end_of(i), group);
    }
    if (needed > cache_->free_pages(group)) return false;
  }
  for (size_t i = 0; i < running.size(); ++i) {
    if (positions[i] > 0 && !cache_->reserve(running[i].slot, positions[i]).ok()) return false;
  }
  return true;
}

}  // namespace dunlin
