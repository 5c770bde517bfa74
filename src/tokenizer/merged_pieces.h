// MergedPieces: what the pieces of one text were merged to.
#pragma once

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace dunlin {

// A piece that comes again, as half of those that need merging do in long texts, is copied from the
// ids of its first time: nothing is stored but where that was.
class MergedPieces {
 public:
  // Forgets everything; `text_bytes` is the size of the text to come.
  void reset(size_t text_bytes) {
    constexpr size_t kMostSlots = 8192;  // 192 KiB
    constexpr size_t kBytesPerSlot = 64;
    slots_.assign(std::min(std::bit_ceil(text_bytes / kBytesPerSlot + 1), kMostSlots), Slot{});
  }
  // Appends what `piece` was merged to, when it was in the text before; otherwise what `merge(ids)`
  // appends.
  template <typename Merge>
  void append(std::string_view piece, std::vector<int32_t>& ids, Merge merge) {
    Slot& slot = slots_[XXH3_64bits(piece.data(), piece.size()) & (slots_.size() - 1)];
    const size_t size = ids.size();
    if (std::string_view(slot.text, slot.length) == piece) {
      ids.resize(size + slot.count);
      const auto first = ids.begin() + static_cast<std::ptrdiff_t>(slot.first);
      std::copy_n(first, slot.count, ids.end() - slot.count);
      return;
    }
    merge(ids);
    slot = {piece.data(), static_cast<uint32_t>(piece.size()),
            static_cast<uint32_t>(ids.size() - size), size};
  }

 private:
  struct Slot {
    const char* text = "";
    uint32_t length = 0;
    uint32_t count = 0;  // of its ids,
    size_t first = 0;    // which begin here
  };
  std::vector<Slot> slots_;  // a power of two; a new piece takes the place of an old one
};

}  // namespace dunlin
