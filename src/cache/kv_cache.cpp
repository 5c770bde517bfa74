#include "cache/kv_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>
#include <utility>

#include "base/check.h"
#include "cache/kv_cache_state.h"

namespace dunlin {

KvCache::KvCache(KvCacheOptions options) : state_(std::make_unique<State>()) {
  for (const KvCacheGroup& group : options.groups) state_->pools.emplace_back(group.pages);
  state_->sequences.resize(static_cast<size_t>(options.slots));
  const auto own_pages = [](const KvCacheGroup& group) { return group.pages_per_slot > 0; };
  if (std::ranges::any_of(options.groups, own_pages)) options.prefix_index = false;
  for (Sequence& sequence : state_->sequences)
    sequence.reserve(options.groups.size(), options.context);
  state_->moves.reserve(options.groups.size() * state_->sequences.size());
  state_->keys.reserve(static_cast<size_t>(pages_for(options.context)));
  state_->options = std::move(options);
}

KvCache::~KvCache() = default;

Result<KvCache::Opened> KvCache::open(std::span<const int32_t> tokens) {
  auto& sequences = state_->sequences;
  const auto free = std::ranges::find_if(sequences, [](const Sequence& s) { return !s.open; });
  if (free == sequences.end())
    return runtime_error(fmt::format("all {} sequence slots are in use", sequences.size()));
  const int64_t count = state_->cached_pages(tokens);
  free->open = true;
  state_->adopt(*free, count, tokens);
  return Opened{static_cast<int32_t>(free - sequences.begin()), count * kPageTokens};
}

int64_t KvCache::cached(std::span<const int32_t> tokens) const {
  return state_->cached_pages(tokens) * kPageTokens;
}

int64_t KvCache::missing_pages(int32_t slot, int64_t positions, int32_t group) const {
  return state_->pages_needed(state_->at(slot), static_cast<size_t>(group), positions);
}

bool KvCache::fits(int32_t slot, int64_t rows) {
  Sequence& sequence = state_->at(slot);
  const int64_t end = sequence.length() + rows;
  state_->free_behind_window(sequence, sequence.length());
  return std::ranges::all_of(std::views::iota(size_t{0}, state_->pools.size()), [&](size_t group) {
    return state_->pages_needed(sequence, group, end) <= state_->available(sequence, group);
  });
}

Result<void> KvCache::reserve(int32_t slot, int64_t rows) {
  Sequence& sequence = state_->at(slot);
  const int64_t end = sequence.length() + rows;
  if (end > state_->options.context) {
    return usage_error(
        fmt::format("{} tokens do not fit the context of {}", end, state_->options.context));
  }
  state_->free_behind_window(sequence, sequence.length());
  for (size_t group = 0; group < state_->pools.size(); ++group) {
    const int64_t needed = state_->pages_needed(sequence, group, end);
    if (const int64_t available = state_->available(sequence, group); needed > available) {
      return Error{ErrorKind::does_not_fit,
                   fmt::format("the KV cache needs {} more pages of {} tokens and has {}", needed,
                               kPageTokens, available)};
    }
  }
  for (size_t group = 0; group < state_->pools.size(); ++group) {
    state_->own_last_page(sequence, group);
    auto& pages = sequence.pages[group];
    while (static_cast<int64_t>(pages.size()) < pages_for(end)) {
      const auto page = static_cast<int64_t>(pages.size());
      pages.push_back(state_->take_page(sequence, group, page));
    }
  }
  return {};
}

void KvCache::commit(int32_t slot, std::span<const int32_t> tokens, RowClass row_class) {
  Sequence& sequence = state_->at(slot);
  const int64_t end = sequence.length() + static_cast<int64_t>(tokens.size());
  for (const auto& pages : sequence.pages) {
    DUNLIN_CHECK(static_cast<int64_t>(pages.size()) >= pages_for(end),
                 "commit of rows that were not reserved");
  }
  const bool same_bits = row_class == RowClass::prompt || state_->options.generated_is_reproducible;
  if (same_bits && sequence.may_extend_reproducible && sequence.reproducible == sequence.length()) {
    sequence.reproducible = end;
  }
  sequence.tokens.insert(sequence.tokens.end(), tokens.begin(), tokens.end());
  sequence.classes.resize(sequence.tokens.size(), row_class);
  state_->index_full_pages(sequence);
}

Result<void> KvCache::truncate(int32_t slot, int64_t length) {
  Sequence& sequence = state_->at(slot);
  if (length < 0 || length > sequence.length()) {
    return runtime_error(fmt::format("cannot truncate {} tokens to {}", sequence.length(), length));
  }
  for (size_t group = 0; group < state_->pools.size(); ++group) {
    const int64_t first = window_begin(state_->window(group), length) / kPageTokens;
    for (int64_t page = first; page < pages_for(length); ++page) {
      if (state_->window(group) > 0 && sequence.pages[group][static_cast<size_t>(page)] < 0) {
        return runtime_error(fmt::format("positions before {} have left the window of {} tokens",
                                         length, state_->window(group)));
      }
    }
  }
  for (size_t group = 0; group < state_->pools.size(); ++group) {
    auto& pages = sequence.pages[group];
    for (auto page = static_cast<size_t>(pages_for(length)); page < pages.size(); ++page) {
      state_->drop(sequence, group, page);
    }
    pages.resize(std::min(pages.size(), static_cast<size_t>(pages_for(length))));
  }
  sequence.tokens.resize(static_cast<size_t>(length));
  sequence.classes.resize(static_cast<size_t>(length));
  sequence.keys.resize(std::min(sequence.keys.size(), static_cast<size_t>(length / kPageTokens)));
  sequence.reproducible = std::min(sequence.reproducible, length);
  return {};
}

Result<int32_t> KvCache::fork(int32_t slot) {
  DUNLIN_ASSIGN_OR_RETURN(const Opened opened, open({}));
  const Sequence& parent = state_->at(slot);
  Sequence& child = state_->at(opened.slot);
  child = parent;
  for (size_t group = 0; group < state_->pools.size(); ++group) {
    for (size_t page = 0; page < child.pages[group].size(); ++page) {
      int32_t& physical = child.pages[group][page];
      if (physical < 0) continue;
      if (state_->pages_per_slot(group) == 0) {
        state_->pool(group).add_user(physical);
        continue;
      }
      const int32_t own = state_->page_of_slot(child, group, static_cast<int64_t>(page));
      state_->moves.push_back({static_cast<int32_t>(group), physical, own});
      physical = own;
    }
  }
  return opened.slot;
}

Result<void> KvCache::evict(int32_t slot, int32_t group, int64_t page) {
  Sequence& sequence = state_->at(slot);
  const KvCacheOptions& options = state_->options;
  const int64_t begin = page * kPageTokens;
  if (page < 0 || begin + kPageTokens > sequence.length()) {
    return runtime_error(fmt::format("page {} of {} tokens is not full", page, sequence.length()));
  }
  if (begin < options.sink_tokens ||
      begin + kPageTokens > sequence.length() - options.recent_tokens) {
    return runtime_error(fmt::format("page {} holds sink or recent tokens and is kept", page));
  }
  state_->drop(sequence, static_cast<size_t>(group), static_cast<size_t>(page));
  // Rows computed from here on no longer see what a cold prefill would.
  sequence.may_extend_reproducible = false;
  return {};
}

void KvCache::close(int32_t slot) {
  Sequence& sequence = state_->at(slot);
  for (size_t group = 0; group < state_->pools.size(); ++group) {
    // From the end: an index is worth more the closer its page is to the start.
    for (size_t page = sequence.pages[group].size(); page > 0; --page)
      state_->drop(sequence, group, page - 1);
  }
  sequence.clear();
}

int64_t KvCache::length(int32_t slot) const {
  return state_->at(slot).length();
}

std::span<const int32_t> KvCache::tokens(int32_t slot) const {
  return state_->at(slot).tokens;
}

std::span<const RowClass> KvCache::row_classes(int32_t slot) const {
  return state_->at(slot).classes;
}

int64_t KvCache::free_pages(int32_t group) const {
  const auto index = static_cast<size_t>(group);
  if (state_->pages_per_slot(index) == 0) return state_->pool(index).available();
  int64_t free = 0;
  for (const Sequence& sequence : state_->sequences) {
    free += sequence.open ? state_->available(sequence, index) : state_->pages_per_slot(index);
  }
  return free;
}

void KvCache::table(std::span<const int32_t> slots, int32_t group, KvTable& into) const {
  into.first.assign(1, 0);
  into.pages.clear();
  for (const int32_t slot : slots) {
    const auto& pages = state_->at(slot).pages[static_cast<size_t>(group)];
    into.pages.insert(into.pages.end(), pages.begin(), pages.end());
    into.first.push_back(static_cast<int32_t>(into.pages.size()));
  }
}

void KvCache::take_moves(std::vector<PageMove>& into) {
  into.clear();
  std::swap(into, state_->moves);
}

}  // namespace dunlin
