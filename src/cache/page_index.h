// PageIndex: from the key of a full page to its number. Open addressing over a table that is never
// more than half full and never grows, so that finding, adding and removing cannot fail.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace dunlin {

// Identifies a page by all tokens from the sequence's start to the page's end. 128 bits from XXH3:
// at 10^9 pages the chance of a wrong hit is below 10^-20.
struct PageKey {
  uint64_t high = 0;
  uint64_t low = 0;
  friend bool operator==(const PageKey&, const PageKey&) = default;
};

// The key of the page with these tokens after the page with key `previous` (PageKey{} before the
// first).
PageKey next_page_key(const PageKey& previous, std::span<const int32_t> page_tokens);

class PageIndex {
 public:
  explicit PageIndex(int64_t pages);  // the most entries there can be

  std::optional<int32_t> find(const PageKey& key) const;
  // False: the key is known already, for another page.
  bool add(const PageKey& key, int32_t page);
  void remove(const PageKey& key);  // must be there

 private:
  struct Entry {
    PageKey key;
    int32_t page = -1;  // -1: free
  };

  size_t home(const PageKey& key) const { return static_cast<size_t>(key.low) & mask_; }
  size_t place_of(const PageKey& key) const;  // its entry, or the free one where it belongs

  std::vector<Entry> entries_;  // a power of two
  size_t mask_;
};

}  // namespace dunlin
