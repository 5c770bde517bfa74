// Scheduler: how many rows of the next step each running sequence takes, which sequence may begin,
// and which gives its pages back when there are too few. Pure bookkeeping: it knows no model, no
// tokens and no threads.
//
// Rows. Sequences that decode come first. The rest goes to prefills in order of arrival; one that
// does not fit leaves up to half of what is left to younger ones that fit as a whole, so that a
// short prompt does not wait for a long one, and the long one keeps at least half its speed.
//
// Pages. A sequence begins when there are pages for all tokens that are known, beside those that
// the running ones are certain to need. When sequences outgrow the pool, sessions that nobody is
// using are closed first, least recently used first; then the youngest sequence gives up its slot
// and waits. The oldest always gets its pages, so every sequence comes to its end.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "backend/api.h"
#include "cache/kv_cache.h"
#include "engine/sessions.h"

namespace dunlin {

// What a sequence would do in the next step.
struct Demand {
  int32_t slot = -1;
  bool prefill = false;  // its tokens are known and may be computed in pieces
  int64_t rows = 0;      // at most; all of one class
  int64_t tokens = 0;    // known so far: the positions that it needs for certain
};

class Scheduler {
 public:
  // `groups` are those of the cache, whose pool without a window holds one full context at least.
  Scheduler(const StepLimits& limits, std::span<const KvCacheGroup> groups, KvCache& cache,
            Sessions& sessions);

  // Whether a sequence of `tokens` tokens, whose slot is open, may begin beside the running ones.
  // Closes sessions when that makes room.
  bool may_begin(std::span<const Demand> running, int32_t slot, int64_t tokens);

  // Takes the slot away from the sequence with this index; it is closed afterwards.
  using Preempt = std::function<void(size_t index)>;

  // The rows of each running sequence, oldest first, with their pages reserved; 0 for a sequence
  // that waits or was preempted. Valid until the next call.
  std::span<const int64_t> schedule(std::span<const Demand> running, const Preempt& preempt);

  // After schedule(): reserves pages for so many positions of each sequence, its rows included, where
  // there are enough without closing a session or taking any from a sequence. False: there are not.
  bool reserve_ahead(std::span<const Demand> running, std::span<const int64_t> positions);

 private:
  void share_rows(std::span<const Demand> running);
  int64_t share_prefills(std::span<const Demand> running, size_t oldest, int64_t left);
  void reserve_pages(std::span<const Demand> running, const Preempt& preempt);
  bool has_pages(std::span<const Demand> running, int32_t slot, int64_t tokens) const;

  StepLimits limits_;
  std::vector<int32_t> growing_groups_;  // without a window, of pages that sequences share
  KvCache* cache_;
  Sessions* sessions_;
  std::vector<int64_t> rows_;
};

}  // namespace dunlin
