// KvCache: who has which page of the KV state. Pure bookkeeping over page numbers; the bytes belong
// to the back end.
//
// A page is 16 positions of every layer of one KV group, aligned to position. Groups (layers with
// one retention rule) have their own pool of pages. Full pages whose content a cold prefill would
// reproduce are indexed by their tokens and found again by open(); they stay after close() until
// their space is needed, least recently used first.
//
// All memory is taken at construction, for every slot at the full context (about 7 bytes a token):
// nothing below allocates but the text of an error.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "step/step.h"

namespace dunlin {

struct KvCacheGroup {
  int64_t window = 0;  // 0: every position is kept; > 0: pages behind the window are freed
  int64_t pages = 0;   // physical pages
  // > 0: each slot has so many pages of its own, at the places that KvState::pages_per_slot gives
  // (backend/api.h). Nothing is shared then: no prefix index, and fork() copies.
  int64_t pages_per_slot = 0;
};

struct KvCacheOptions {
  std::vector<KvCacheGroup> groups = {};
  int32_t slots = 1;    // sequences open at a time
  int64_t context = 0;  // positions of one sequence
  bool prefix_index = true;
  // Rows of class `generated` have the arithmetic of prompt rows, so that their pages may be
  // indexed too.
  bool generated_is_reproducible = false;
  int64_t sink_tokens = 4;     // evict() refuses pages with the first positions
  int64_t recent_tokens = 64;  // and with the last
};

class KvCache {
 public:
  explicit KvCache(KvCacheOptions options);
  ~KvCache();
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  struct Opened {
    int32_t slot = -1;  // the lowest free one
    int64_t cached =
        0;  // leading tokens whose pages were found, a multiple of 16 and less than tokens.size()
  };
  // A new sequence that will start with `tokens`. The error when no slot is free is of kind
  // runtime.
  Result<Opened> open(std::span<const int32_t> tokens);

  // Leading tokens that open() would find.
  int64_t cached(std::span<const int32_t> tokens) const;

  // Pages for `rows` more positions in every group, all or nothing. Beyond the context: kind usage,
  // with both numbers; out of pages: kind does_not_fit. Queues the copy of a shared last page.
  Result<void> reserve(int32_t slot, int64_t rows);
  // Whether reserve() would find the pages. Like it, gives back what is behind the window.
  bool fits(int32_t slot, int64_t rows);
  // Pages that the first `positions` positions need in the group beyond those the sequence has.
  int64_t missing_pages(int32_t slot, int64_t positions, int32_t group) const;

  // The step wrote `tokens` at the positions after the sequence's length, with rows of this class.
  void commit(int32_t slot, std::span<const int32_t> tokens, RowClass row_class);

  // Forgets positions from `length` on. Pages behind a window that were freed do not come back:
  // shorter than what a windowed group still holds is an error, and the sequence is left as it was.
  Result<void> truncate(int32_t slot, int64_t length);

  // Another slot with the same content; pages are shared until one of the two writes.
  Result<int32_t> fork(int32_t slot);

  // Gives one full page of one group back (its positions are no longer seen). Sinks and recent
  // tokens: an error.
  Result<void> evict(int32_t slot, int32_t group, int64_t page);

  void close(int32_t slot);

  int64_t length(int32_t slot) const;
  std::span<const int32_t> tokens(int32_t slot) const;
  // Of the rows that computed the tokens: the same classes give the same bits again.
  std::span<const RowClass> row_classes(int32_t slot) const;
  int64_t free_pages(int32_t group) const;  // unused, or indexed without a user

  // The page table of the slots' sequences in one group, covering the reserved positions.
  void table(std::span<const int32_t> slots, int32_t group, KvTable& into) const;

  // Copies to run before the next step writes; each is given once. What `into` held is dropped.
  void take_moves(std::vector<PageMove>& into);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dunlin
