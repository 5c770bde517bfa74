// Vocabulary: the bytes of every token, and the token of given bytes. The lookup is an open-addressing
// table whose slots hold the bytes of short tokens themselves, so that finding most of the pieces of a
// text touches one cache line; the bytes of all tokens lie in one arena.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tokenizer/splitters/splitter.h"

namespace dunlin {

class Vocabulary {
 public:
  // Ids lie in [0, kMaxIds); published vocabularies have up to 262144. A bound on the memory a
  // hostile file can ask for.
  static constexpr int64_t kMaxIds = int64_t{1} << 21;
  static constexpr int32_t kNone = -1;

  // Adds a token; `findable` ones are what find() knows. Errors: an id out of range or used twice,
  // more than 4 GiB.
  Result<void> add(int64_t id, std::string_view bytes, bool findable);

  // Builds the table behind find(), after the last add(). An error when two findable tokens have
  // the same bytes, or when a hostile choice of tokens would make searches slow.
  Result<void> build_index();

  // The findable token of exactly these bytes, or kNone.
  int32_t find(std::string_view bytes) const noexcept;

  // find() for each of the pieces of a text, at most kMostFound of them. The table of a large vocabulary
  // does not fit the caches; that memory is asked for before the first of the pieces is compared.
  static constexpr size_t kMostFound = 64;
  void find_all(std::string_view text, std::span<const Piece> pieces,
                std::span<int32_t> ids) const noexcept;

  bool contains(int64_t id) const noexcept {
    return id >= 0 && id < size() && entries_[static_cast<size_t>(id)].length != kAbsent;
  }
  // The token's bytes; empty for an id that has no token.
  std::string_view bytes(int64_t id) const noexcept;

  int32_t size() const noexcept { return static_cast<int32_t>(entries_.size()); }  // highest id + 1

 private:
  static constexpr uint32_t kAbsent = UINT32_MAX;
  struct Entry {
    uint32_t offset = 0;
    uint32_t length = kAbsent;
  };
  struct Key {
    uint64_t value;   // up to 8 bytes: with the length, the bytes themselves; of longer ones a hash
    uint32_t length;  // bytes
  };
  struct Slot {
    uint64_t key = 0;
    uint32_t length = 0;
    int32_t id = kNone;
  };
  static Key key_of(std::string_view bytes) noexcept;
  size_t first_slot(const Key& key) const noexcept;
  int32_t find_from(size_t at, const Key& key, std::string_view bytes) const noexcept;
  bool matches(const Slot& slot, const Key& key, std::string_view bytes) const noexcept;

  std::string arena_;
  std::vector<Entry> entries_;     // by id
  std::vector<int32_t> findable_;  // ids, until build_index
  std::vector<Slot> slots_;        // a power of two, at most half full
  int hash_shift_ = 0;
  size_t longest_findable_ = 0;
};

}  // namespace dunlin
