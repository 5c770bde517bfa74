// Vocabulary: the bytes of every token, and the token of given bytes. All bytes lie in one arena;
// the lookup is an open-addressing table over it, so that finding a token allocates nothing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace dunlin {

class Vocabulary {
 public:
  // Ids lie in [0, kMaxIds); published vocabularies have up to 262144. A bound on the memory a
  // hostile file can ask for.
  static constexpr int64_t kMaxIds = int64_t{1} << 22;
  static constexpr int32_t kNone = -1;

  // Adds a token; `findable` ones are what find() knows. Errors: an id out of range or used twice,
  // more than 4 GiB.
  Result<void> add(int64_t id, std::string_view bytes, bool findable);

  // Builds the table behind find(), after the last add(). An error when two findable tokens have
  // the same bytes.
  Result<void> build_index();

  // The findable token of exactly these bytes, or kNone.
  int32_t find(std::string_view bytes) const noexcept;

  bool contains(int64_t id) const noexcept {
    return id >= 0 && id < size() && entries_[static_cast<size_t>(id)].length != kAbsent;
  }
  // The token's bytes; empty for an id that has no token.
  std::string_view bytes(int64_t id) const noexcept;

  int32_t size() const noexcept { return static_cast<int32_t>(entries_.size()); }  // highest id + 1
  size_t longest_findable() const noexcept { return longest_findable_; }           // bytes

 private:
  static constexpr uint32_t kAbsent = UINT32_MAX;
  struct Entry {
    uint32_t offset = 0;
    uint32_t length = kAbsent;
  };
  struct Slot {
    uint32_t tag = 0;  // upper half of the hash
    int32_t id = kNone;
  };

  std::string arena_;
  std::vector<Entry> entries_;     // by id
  std::vector<int32_t> findable_;  // ids, until build_index
  std::vector<Slot> slots_;        // a power of two, at most half full
  size_t longest_findable_ = 0;
};

}  // namespace dunlin
