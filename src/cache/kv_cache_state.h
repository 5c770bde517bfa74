// The sequences of a KvCache: which pages each holds, and what may be done with them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "cache/kv_cache.h"
#include "cache/page_pool.h"

namespace dunlin {

inline int64_t pages_for(int64_t positions) {
  return (positions + kPageTokens - 1) / kPageTokens;
}

// The first position that a row at `position` still sees.
inline int64_t window_begin(int64_t window, int64_t position) {
  return window == 0 ? 0 : std::max<int64_t>(0, position - window + 1);
}

struct Sequence {
  bool open = false;
  std::vector<int32_t> tokens;              // committed
  std::vector<RowClass> classes;            // of the rows that computed them
  std::vector<std::vector<int32_t>> pages;  // [group][page number]: physical page or -1
  std::vector<PageKey> keys;                // of the full pages
  int64_t reproducible = 0;             // leading tokens a cold prefill would give the same bits
  bool may_extend_reproducible = true;  // false after an eviction

  int64_t length() const { return static_cast<int64_t>(tokens.size()); }

  void reserve(size_t groups, int64_t context);
  void clear();  // keeps the memory
};

struct KvCache::State {
  KvCacheOptions options;
  std::vector<PagePool> pools;
  std::vector<Sequence> sequences;
  std::vector<PageMove> moves;
  std::vector<PageKey> keys;  // of the tokens that are looked up

  Sequence& at(int32_t slot);  // an open one

  PagePool& pool(size_t group) { return pools[group]; }
  int64_t pages_per_slot(size_t group) const { return options.groups[group].pages_per_slot; }
  int64_t window(size_t group) const { return options.groups[group].window; }

  // Where page number `page` of the sequence lies in a group whose slots have their own pages.
  int32_t page_of_slot(const Sequence& sequence, size_t group, int64_t page) const;

  int32_t take_page(const Sequence& sequence, size_t group, int64_t page);

  // Pages that the sequence may still take.
  int64_t available(const Sequence& sequence, size_t group) const;

  void drop(Sequence& sequence, size_t group, size_t page);

  // Frees pages that no row at or after `position` can see.
  void free_behind_window(Sequence& sequence, int64_t position);

  // Leading full pages of the tokens that every group still has; leaves their keys in `keys`. At
  // least one token is left to compute: its logits are wanted.
  int64_t cached_pages(std::span<const int32_t> tokens);

  // Whether the group has what a row after `count` pages with the keys sees of them.
  bool has_pages(size_t group, int64_t count) const;

  // Starts the sequence with `count` pages that other sequences computed.
  void adopt(Sequence& sequence, int64_t count, std::span<const int32_t> tokens);

  // Pages that cover the positions before `end` and that the sequence does not have in the group,
  // the copy of a shared last page included.
  int64_t pages_needed(const Sequence& sequence, size_t group, int64_t end) const;

  bool last_page_is_shared(const Sequence& sequence, size_t group) const;

  // Makes the partly filled last page the sequence's own, so that the next rows may be written to
  // it.
  void own_last_page(Sequence& sequence, size_t group);

  // Computes the keys of pages that became full and indexes the reproducible ones.
  void index_full_pages(Sequence& sequence);
};

}  // namespace dunlin
