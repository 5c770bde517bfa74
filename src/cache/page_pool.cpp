#include "cache/page_pool.h"

#include "base/check.h"

namespace dunlin {

PagePool::PagePool(int64_t pages) : pages_(static_cast<size_t>(pages)), index_(pages) {
  free_.reserve(static_cast<size_t>(pages));
  for (int64_t page = pages - 1; page >= 0; --page) free_.push_back(static_cast<int32_t>(page));
}

void PagePool::append_idle(int32_t page) {
  at(page).previous = last_idle_;
  at(page).next = -1;
  (last_idle_ < 0 ? first_idle_ : at(last_idle_).next) = page;
  last_idle_ = page;
  ++idle_count_;
}

void PagePool::remove_idle(int32_t page) {
  const Page& entry = at(page);
  (entry.previous < 0 ? first_idle_ : at(entry.previous).next) = entry.next;
  (entry.next < 0 ? last_idle_ : at(entry.next).previous) = entry.previous;
  --idle_count_;
}

std::optional<int32_t> PagePool::take() {
  int32_t page = -1;
  if (!free_.empty()) {
    page = free_.back();
    free_.pop_back();
  } else if (first_idle_ >= 0) {
    page = first_idle_;
    remove_idle(page);
    index_.remove(*at(page).key);
    at(page).key.reset();
  } else {
    return std::nullopt;
  }
  at(page).users = 1;
  return page;
}

void PagePool::add_user(int32_t page) {
  Page& entry = at(page);
  if (entry.users == 0) {
    DUNLIN_CHECK(entry.key.has_value(), "a page without users that is not indexed is free");
    remove_idle(page);
  }
  ++entry.users;
}

void PagePool::drop_user(int32_t page) {
  Page& entry = at(page);
  DUNLIN_CHECK(entry.users > 0, "drop_user of a page without users");
  if (--entry.users > 0) return;
  if (entry.key.has_value()) {
    append_idle(page);
  } else {
    free_.push_back(page);
  }
}

void PagePool::index(int32_t page, PageKey key) {
  Page& entry = at(page);
  DUNLIN_CHECK(entry.users > 0, "only a page in use is indexed");
  if (entry.key.has_value() || !index_.add(key, page)) return;
  entry.key = key;
}

void PagePool::forget(int32_t page) {
  Page& entry = at(page);
  if (!entry.key.has_value()) return;
  DUNLIN_CHECK(entry.users > 0, "only a page in use changes");
  index_.remove(*entry.key);
  entry.key.reset();
}

}  // namespace dunlin
