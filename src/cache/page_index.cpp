#include "cache/page_index.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "step/step.h"

namespace dunlin {

PageKey next_page_key(const PageKey& previous, std::span<const int32_t> page_tokens) {
  std::array<std::byte, sizeof(PageKey) + kPageTokens * sizeof(int32_t)> bytes;
  std::memcpy(bytes.data(), &previous, sizeof previous);
  std::memcpy(bytes.data() + sizeof previous, page_tokens.data(), page_tokens.size_bytes());
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.high64, hash.low64};
}

PageIndex::PageIndex(int64_t pages)
    : entries_(std::bit_ceil(static_cast<size_t>(2 * std::max<int64_t>(pages, 1)))),
      mask_(entries_.size() - 1) {}

size_t PageIndex::place_of(const PageKey& key) const {
  size_t place = home(key);
  while (entries_[place].page >= 0 && entries_[place].key != key) place = (place + 1) & mask_;
  return place;
}

std::optional<int32_t> PageIndex::find(const PageKey& key) const {
  const Entry& entry = entries_[place_of(key)];
  if (entry.page < 0) return std::nullopt;
  return entry.page;
}

bool PageIndex::add(const PageKey& key, int32_t page) {
  Entry& entry = entries_[place_of(key)];
  if (entry.page >= 0) return false;
  entry = {key, page};
  return true;
}

// Entries behind the removed one move up unless that would put them before their home: a search
// never meets a hole on its way (Knuth, volume 3, 6.4, algorithm R).
void PageIndex::remove(const PageKey& key) {
  size_t hole = place_of(key);
  DUNLIN_CHECK(entries_[hole].page >= 0, "remove of a page key that is not indexed");
  for (size_t next = (hole + 1) & mask_; entries_[next].page >= 0; next = (next + 1) & mask_) {
    const size_t distance_of_home = (next - home(entries_[next].key)) & mask_;
    if (distance_of_home < ((next - hole) & mask_)) continue;
    entries_[hole] = entries_[next];
    hole = next;
  }
  entries_[hole].page = -1;
}

}  // namespace dunlin
