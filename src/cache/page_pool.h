// PagePool: reference counts, the free list, and the prefix index of one KV group's pages.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <unordered_map>
#include <vector>

namespace dunlin {

// Identifies a page by all tokens from the sequence's start to the page's end. 128 bits from XXH3:
// at 10^9 pages the chance of a wrong hit is below 10^-20.
struct PageKey {
  uint64_t high = 0;
  uint64_t low = 0;
  friend bool operator==(const PageKey&, const PageKey&) = default;
};

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
  std::optional<int32_t> find(PageKey key) const;
  // The page's content is about to change, or is wrong.
  void forget(int32_t page);

  int64_t available() const { return static_cast<int64_t>(free_.size() + idle_.size()); }

 private:
  struct Page {
    int32_t users = 0;
    std::optional<PageKey> key;
    std::list<int32_t>::iterator idle;  // valid while indexed without users
  };
  struct KeyHash {
    size_t operator()(const PageKey& key) const { return static_cast<size_t>(key.low); }
  };

  std::vector<Page> pages_;
  std::vector<int32_t> free_;  // taken from the back; lowest page number first
  std::list<int32_t> idle_;    // indexed pages without users, least recently used first
  std::unordered_map<PageKey, int32_t, KeyHash> index_;
};

}  // namespace dunlin
