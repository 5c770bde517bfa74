#include "engine/sessions.h"

#include <algorithm>

namespace dunlin {

Sessions::Sessions(KvCache& cache, int64_t slots) : cache_(&cache) {
  idle_.reserve(static_cast<size_t>(slots));
}

Result<KvCache::Opened> Sessions::open(SessionId id, std::span<const int32_t> prompt) {
  if (const auto resumed = resume(id, prompt)) return *resumed;
  auto opened = cache_->open(prompt);
  if (!opened.ok() && close_oldest()) opened = cache_->open(prompt);
  return opened;
}

// Nothing when there is no such sequence, when the prefix index has more, or when the sequence
// cannot go back to where the prompt differs because those positions have left a window.
std::optional<KvCache::Opened> Sessions::resume(SessionId id, std::span<const int32_t> prompt) {
  const auto it = std::ranges::find(idle_, id, &Idle::id);
  if (it == idle_.end()) return std::nullopt;
  const int32_t slot = it->slot;
  idle_.erase(it);
  const auto held = cache_->tokens(slot);
  // At least one token is left to compute: its logits are wanted.
  const auto limit = std::min(held.size(), prompt.size() - 1);
  size_t common = 0;
  while (common < limit && held[common] == prompt[common]) ++common;
  const auto length = static_cast<int64_t>(common);
  if (cache_->cached(prompt) > length || !cache_->truncate(slot, length).ok()) {
    cache_->close(slot);
    return std::nullopt;
  }
  return KvCache::Opened{slot, length};
}

void Sessions::keep(SessionId id, int32_t slot) {
  if (id == 0 || std::ranges::find(idle_, id, &Idle::id) != idle_.end()) {
    cache_->close(slot);
  } else {
    idle_.push_back({id, slot});
  }
}

void Sessions::end(SessionId id) {
  const auto it = std::ranges::find(idle_, id, &Idle::id);
  if (it == idle_.end()) return;
  cache_->close(it->slot);
  idle_.erase(it);
}

std::optional<int32_t> Sessions::slot_of(SessionId id) const {
  const auto it = std::ranges::find(idle_, id, &Idle::id);
  return it == idle_.end() ? std::nullopt : std::optional(it->slot);
}

bool Sessions::close_oldest() {
  if (idle_.empty()) return false;
  cache_->close(idle_.front().slot);
  idle_.erase(idle_.begin());
  return true;
}

}  // namespace dunlin
