#include "cache/page_pool.h"

#include "base/check.h"

namespace dunlin {

PagePool::PagePool(int64_t pages) : pages_(static_cast<size_t>(pages)) {
  free_.reserve(static_cast<size_t>(pages));
  for (int64_t page = pages - 1; page >= 0; --page) free_.push_back(static_cast<int32_t>(page));
}

std::optional<int32_t> PagePool::take() {
  int32_t page = -1;
  if (!free_.empty()) {
    page = free_.back();
    free_.pop_back();
  } else if (!idle_.empty()) {
    page = idle_.front();
    idle_.pop_front();
    Page& entry = pages_[static_cast<size_t>(page)];
    index_.erase(*entry.key);
    entry.key.reset();
  } else {
    return std::nullopt;
  }
  pages_[static_cast<size_t>(page)].users = 1;
  return page;
}

void PagePool::add_user(int32_t page) {
  Page& entry = pages_[static_cast<size_t>(page)];
  if (entry.users == 0) {
    DUNLIN_CHECK(entry.key.has_value(), "a page without users that is not indexed is free");
    idle_.erase(entry.idle);
  }
  ++entry.users;
}

void PagePool::drop_user(int32_t page) {
  Page& entry = pages_[static_cast<size_t>(page)];
  DUNLIN_CHECK(entry.users > 0, "drop_user of a page without users");
  if (--entry.users > 0) return;
  if (entry.key.has_value()) {
    entry.idle = idle_.insert(idle_.end(), page);
  } else {
    free_.push_back(page);
  }
}

void PagePool::index(int32_t page, PageKey key) {
  Page& entry = pages_[static_cast<size_t>(page)];
  DUNLIN_CHECK(entry.users > 0, "only a page in use is indexed");
  if (entry.key.has_value() || !index_.emplace(key, page).second) return;
  entry.key = key;
}

std::optional<int32_t> PagePool::find(PageKey key) const {
  const auto it = index_.find(key);
  if (it == index_.end()) return std::nullopt;
  return it->second;
}

void PagePool::forget(int32_t page) {
  Page& entry = pages_[static_cast<size_t>(page)];
  if (!entry.key.has_value()) return;
  DUNLIN_CHECK(entry.users > 0, "only a page in use changes");
  index_.erase(*entry.key);
  entry.key.reset();
}

}  // namespace dunlin
