#include "tokenizer/vocabulary.h"

#include <fmt/format.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace dunlin {
namespace {

constexpr size_t kInlineBytes = 8;
// In a table that is half full the longest search of a million random keys takes about 40 steps.
constexpr size_t kMaxNameProbes = 1000;

template <typename T>
T load(const char* at) noexcept {
  T value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

}  // namespace

// Overlapping loads: which bytes stand where depends on the length alone.
Vocabulary::Key Vocabulary::key_of(std::string_view bytes) noexcept {
  const size_t length = bytes.size();
  const char* at = bytes.data();
  uint64_t value = 0;
  if (length > kInlineBytes) {
    value = XXH3_64bits(at, length);
  } else if (length >= 4) {
    value = uint64_t{load<uint32_t>(at)} << 32 | load<uint32_t>(at + length - 4);
  } else if (length > 0) {
    value = uint64_t{load<uint8_t>(at)} << 16 | uint64_t{load<uint8_t>(at + length / 2)} << 8 |
            load<uint8_t>(at + length - 1);
  }
  return {value, static_cast<uint32_t>(length)};
}

size_t Vocabulary::first_slot(const Key& key) const noexcept {
  uint64_t hash = (key.value ^ uint64_t{key.length} << 56) * 0x9E3779B97F4A7C15u;
  hash ^= hash >> 32;
  return hash * 0xD6E8FEB86659FD93u >> hash_shift_;
}

bool Vocabulary::matches(const Slot& slot, const Key& key, std::string_view text) const noexcept {
  if (slot.key != key.value || slot.length != key.length) return false;
  return key.length <= kInlineBytes || bytes(slot.id) == text;
}

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
  hash_shift_ = 64 - std::countr_zero(slots_.size());
  for (const int32_t id : findable_) {
    const std::string_view text = bytes(id);
    const Key key = key_of(text);
    size_t at = first_slot(key);
    for (size_t probes = 0; slots_[at].id != kNone; ++probes) {
      if (matches(slots_[at], key, text)) {
        return model_error(
            fmt::format("the tokens {} and {} are the same bytes", slots_[at].id, id));
      }
      if (probes == kMaxNameProbes) return model_error("too many tokens have the same hash");
      at = (at + 1) & (slots_.size() - 1);
    }
    slots_[at] = {key.value, key.length, id};
  }
  findable_ = {};
  return {};
}

int32_t Vocabulary::find_from(size_t at, const Key& key, std::string_view text) const noexcept {
  for (;; at = (at + 1) & (slots_.size() - 1)) {
    const Slot& slot = slots_[at];
    if (slot.id == kNone) return kNone;
    if (matches(slot, key, text)) return slot.id;
  }
}

int32_t Vocabulary::find(std::string_view text) const noexcept {
  if (text.size() > longest_findable_) return kNone;
  const Key key = key_of(text);
  return find_from(first_slot(key), key, text);
}

void Vocabulary::find_all(std::string_view text, std::span<const Piece> pieces,
                          std::span<int32_t> ids) const noexcept {
  struct Search {
    Key key;
    size_t at;
  };
  std::array<Search, kMostFound> searches;
  const auto text_of = [text](const Piece& p) { return text.substr(p.begin, p.end - p.begin); };
  for (size_t i = 0; i < pieces.size(); ++i) {
    // A long piece is not read here: it may be a megabyte, and no token.
    const std::string_view piece = text_of(pieces[i]);
    const Key key = piece.size() > longest_findable_ ? Key{} : key_of(piece);
    searches[i] = {key, first_slot(key)};
    __builtin_prefetch(&slots_[searches[i].at]);
  }
  for (size_t i = 0; i < pieces.size(); ++i) {
    const std::string_view piece = text_of(pieces[i]);
    const bool too_long = piece.size() > longest_findable_;
    ids[i] = too_long ? kNone : find_from(searches[i].at, searches[i].key, piece);
  }
}

std::string_view Vocabulary::bytes(int64_t id) const noexcept {
  if (!contains(id)) return {};
  const Entry entry = entries_[static_cast<size_t>(id)];
  return std::string_view(arena_).substr(entry.offset, entry.length);
}

}  // namespace dunlin
