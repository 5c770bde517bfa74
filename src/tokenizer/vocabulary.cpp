#include "tokenizer/vocabulary.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <bit>

namespace dunlin {

Result<void> Vocabulary::add(int64_t id, std::string_view bytes, bool findable) {
  if (id < 0 || id >= kMaxIds) {
    return model_error(fmt::format("the token id {} is outside 0..{}", id, kMaxIds - 1));
  }
  if (bytes.size() >= kAbsent - arena_.size())
    return model_error("the tokens have more than 4 GiB together");
  if (id >= size()) entries_.resize(static_cast<size_t>(id) + 1);
  Entry& entry = entries_[static_cast<size_t>(id)];
  if (entry.length != kAbsent) return model_error(fmt::format("the token id {} is used twice", id));
  entry = {static_cast<uint32_t>(arena_.size()), static_cast<uint32_t>(bytes.size())};
  arena_.append(bytes);
  if (findable) {
    findable_.push_back(static_cast<int32_t>(id));
    longest_findable_ = std::max(longest_findable_, bytes.size());
  }
  return {};
}

Result<void> Vocabulary::build_index() {
  slots_.assign(std::bit_ceil(findable_.size() * 2 + 2), Slot{});
  for (const int32_t id : findable_) {
    const std::string_view text = bytes(id);
    const uint64_t hash = XXH3_64bits(text.data(), text.size());
    const auto tag = static_cast<uint32_t>(hash >> 32);
    size_t at = hash & (slots_.size() - 1);
    while (slots_[at].id != kNone) {
      if (slots_[at].tag == tag && bytes(slots_[at].id) == text) {
        return model_error(
            fmt::format("the tokens {} and {} are the same bytes", slots_[at].id, id));
      }
      at = (at + 1) & (slots_.size() - 1);
    }
    slots_[at] = {tag, id};
  }
  findable_ = {};
  return {};
}

int32_t Vocabulary::find(std::string_view text) const noexcept {
  if (text.size() > longest_findable_) return kNone;
  const uint64_t hash = XXH3_64bits(text.data(), text.size());
  const auto tag = static_cast<uint32_t>(hash >> 32);
  for (size_t at = hash & (slots_.size() - 1);; at = (at + 1) & (slots_.size() - 1)) {
    const Slot slot = slots_[at];
    if (slot.id == kNone) return kNone;
    if (slot.tag == tag && bytes(slot.id) == text) return slot.id;
  }
}

std::string_view Vocabulary::bytes(int64_t id) const noexcept {
  if (!contains(id)) return {};
  const Entry entry = entries_[static_cast<size_t>(id)];
  return std::string_view(arena_).substr(entry.offset, entry.length);
}

}  // namespace dunlin
