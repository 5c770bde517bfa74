// PagePool: reference counts, the free list, and the prefix index of one KV group's pages. All
// memory is taken at construction: nothing else here can fail.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "cache/page_index.h"

namespace dunlin {

class PagePool {
 public:
  explicit PagePool(int64_t pages);

  // A page with one user: a free one, otherwise the least recently used indexed page without users.
  std::optional<int32_t> take();
  void add_user(int32_t page);
  // The last user leaves: an indexed page waits for a hit, another one is free.
  void drop_user(int32_t page);
  int32_t users(int32_t page) const { return pages_[static_cast<size_t>(page)].users; }

  // Makes a full page findable. A key that is known already keeps its first page.
  void index(int32_t page, PageKey key);
  std::optional<int32_t> find(PageKey key) const { return index_.find(key); }
  // The page's content is about to change, or is wrong.
  void forget(int32_t page);

  int64_t available() const { return static_cast<int64_t>(free_.size()) + idle_count_; }

 private:
  struct Page {
    int32_t users = 0;
    std::optional<PageKey> key = {};
    // Neighbours in the list of indexed pages without users, least recently used first; -1: none.
    int32_t previous = -1;
    int32_t next = -1;
  };

  Page& at(int32_t page) { return pages_[static_cast<size_t>(page)]; }
  void append_idle(int32_t page);
  void remove_idle(int32_t page);

  std::vector<Page> pages_;
  std::vector<int32_t> free_;  // taken from the back; lowest page number first
  PageIndex index_;
  int32_t first_idle_ = -1;
  int32_t last_idle_ = -1;
  int64_t idle_count_ = 0;
};

}  // namespace dunlin
