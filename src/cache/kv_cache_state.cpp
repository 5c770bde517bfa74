#include "cache/kv_cache_state.h"

#include <algorithm>
#include <ranges>

#include "base/check.h"

namespace dunlin {
void Sequence::reserve(size_t groups, int64_t context) {
  tokens.reserve(static_cast<size_t>(context));
  classes.reserve(static_cast<size_t>(context));
  keys.reserve(static_cast<size_t>(pages_for(context)));
  pages.resize(groups);
  for (auto& group : pages) group.reserve(static_cast<size_t>(pages_for(context)));
}

void Sequence::clear() {
  open = false;
  tokens.clear();
  classes.clear();
  for (auto& group : pages) group.clear();
  keys.clear();
  reproducible = 0;
  may_extend_reproducible = true;
}

Sequence& KvCache::State::at(int32_t slot) {
  DUNLIN_CHECK(slot >= 0 && static_cast<size_t>(slot) < sequences.size(), "slot out of range");
  Sequence& sequence = sequences[static_cast<size_t>(slot)];
  DUNLIN_CHECK(sequence.open, "slot is not open");
  return sequence;
}

int32_t KvCache::State::page_of_slot(const Sequence& sequence, size_t group, int64_t page) const {
  const int64_t slot = &sequence - sequences.data();
  const int64_t each = pages_per_slot(group);
  return static_cast<int32_t>(slot * each + page % each);
}

int32_t KvCache::State::take_page(const Sequence& sequence, size_t group, int64_t page) {
  return pages_per_slot(group) > 0 ? page_of_slot(sequence, group, page) : *pool(group).take();
}

int64_t KvCache::State::available(const Sequence& sequence, size_t group) const {
  if (pages_per_slot(group) == 0) return pools[group].available();
  const auto used = std::ranges::count_if(sequence.pages[group], [](int32_t p) { return p >= 0; });
  return pages_per_slot(group) - used;
}

void KvCache::State::drop(Sequence& sequence, size_t group, size_t page) {
  int32_t& physical = sequence.pages[group][page];
  if (physical >= 0 && pages_per_slot(group) == 0) pool(group).drop_user(physical);
  physical = -1;
}

void KvCache::State::free_behind_window(Sequence& sequence, int64_t position) {
  for (size_t group = 0; group < pools.size(); ++group) {
    const int64_t first_visible_page = window_begin(window(group), position) / kPageTokens;
    const auto& pages = sequence.pages[group];
    const auto end = std::min<size_t>(pages.size(), static_cast<size_t>(first_visible_page));
    for (size_t page = 0; page < end; ++page) drop(sequence, group, page);
  }
}

int64_t KvCache::State::cached_pages(std::span<const int32_t> tokens) {
  keys.clear();
  if (tokens.empty() || !options.prefix_index) return 0;
  const size_t limit = (tokens.size() - 1) / kPageTokens;
  for (size_t page = 0; page < limit; ++page) {
    const PageKey previous = keys.empty() ? PageKey{} : keys.back();
    keys.push_back(next_page_key(previous, tokens.subspan(page * kPageTokens, kPageTokens)));
  }
  for (auto count = static_cast<int64_t>(limit); count > 0; --count) {
    if (std::ranges::all_of(std::views::iota(size_t{0}, pools.size()),
                            [&](size_t group) { return has_pages(group, count); })) {
      return count;
    }
  }
  return 0;
}

bool KvCache::State::has_pages(size_t group, int64_t count) const {
  const int64_t first = window_begin(window(group), count * kPageTokens) / kPageTokens;
  for (int64_t page = first; page < count; ++page) {
    if (!pools[group].find(keys[static_cast<size_t>(page)]).has_value()) return false;
  }
  return true;
}

void KvCache::State::adopt(Sequence& sequence, int64_t count, std::span<const int32_t> tokens) {
  for (size_t group = 0; group < pools.size(); ++group) {
    const int64_t first = window_begin(window(group), count * kPageTokens) / kPageTokens;
    auto& pages = sequence.pages[group];
    pages.assign(static_cast<size_t>(count), -1);
    for (int64_t page = first; page < count; ++page) {
      const int32_t physical = *pool(group).find(keys[static_cast<size_t>(page)]);
      pool(group).add_user(physical);
      pages[static_cast<size_t>(page)] = physical;
    }
  }
  sequence.keys.assign(keys.begin(), keys.begin() + count);
  const auto cached = tokens.first(static_cast<size_t>(count * kPageTokens));
  sequence.tokens.assign(cached.begin(), cached.end());
  // Those of class `generated` have the same bits, or they would not have been indexed.
  sequence.classes.assign(cached.size(), RowClass::prompt);
  sequence.reproducible = sequence.length();
}

int64_t KvCache::State::pages_needed(const Sequence& sequence, size_t group, int64_t end) const {
  const auto& pages = sequence.pages[group];
  int64_t needed = std::max<int64_t>(0, pages_for(end) - static_cast<int64_t>(pages.size()));
  if (last_page_is_shared(sequence, group)) ++needed;
  return needed;
}

bool KvCache::State::last_page_is_shared(const Sequence& sequence, size_t group) const {
  if (sequence.length() % kPageTokens == 0 || pages_per_slot(group) > 0) return false;
  const int32_t physical =
      sequence.pages[group][static_cast<size_t>(sequence.length() / kPageTokens)];
  return physical >= 0 && pools[group].users(physical) > 1;
}

void KvCache::State::own_last_page(Sequence& sequence, size_t group) {
  if (sequence.length() % kPageTokens == 0 || pages_per_slot(group) > 0) return;
  int32_t& physical = sequence.pages[group][static_cast<size_t>(sequence.length() / kPageTokens)];
  if (physical < 0) return;
  if (pool(group).users(physical) == 1) {
    pool(group).forget(physical);
    return;
  }
  const int32_t copy = *pool(group).take();
  moves.push_back({static_cast<int32_t>(group), physical, copy});
  pool(group).drop_user(physical);
  physical = copy;
}

void KvCache::State::index_full_pages(Sequence& sequence) {
  const std::span<const int32_t> tokens = sequence.tokens;
  const auto full = static_cast<size_t>(sequence.length() / kPageTokens);
  while (sequence.keys.size() < full) {
    const size_t page = sequence.keys.size();
    const PageKey previous = page == 0 ? PageKey{} : sequence.keys.back();
    sequence.keys.push_back(
        next_page_key(previous, tokens.subspan(page * kPageTokens, kPageTokens)));
    if (!options.prefix_index ||
        static_cast<int64_t>(page + 1) * kPageTokens > sequence.reproducible)
      continue;
    for (size_t group = 0; group < pools.size(); ++group) {
      const int32_t physical = sequence.pages[group][page];
      if (physical >= 0) pool(group).index(physical, sequence.keys[page]);
    }
  }
}

}  // namespace dunlin
