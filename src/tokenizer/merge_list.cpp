#include "tokenizer/merge_list.h"

#include <fmt/format.h>

#include "tokenizer/byte_alphabet.h"

namespace dunlin {

Result<void> MergeList::add(std::string_view left, std::string_view right) {
  if (entries_.size() == kMaxMerges)
    return model_error(fmt::format("more than {} merges", kMaxMerges));
  const size_t offset = arena_.size();
  if (offset + left.size() + right.size() >= UINT32_MAX)
    return model_error("the merges have more than 4 GiB together");
  const bool left_known = append_from_byte_alphabet(left, arena_);
  const size_t middle = arena_.size();
  const bool right_known = append_from_byte_alphabet(right, arena_);
  if (!left_known || !right_known || middle == offset || arena_.size() == middle) {
    return model_error(
        fmt::format("merge {} is not two tokens of byte-level characters", entries_.size()));
  }
  entries_.push_back({static_cast<uint32_t>(offset), static_cast<uint32_t>(middle - offset),
                      static_cast<uint32_t>(arena_.size() - offset)});
  return {};
}

Result<void> MergeList::add(std::string_view both) {
  const size_t space = both.find(' ');
  if (space == std::string_view::npos) {
    return model_error(
        fmt::format("merge {} is not two tokens with a space between", entries_.size()));
  }
  return add(both.substr(0, space),
             both.substr(space + 1));  // a second space is not in the byte alphabet
}

MergeList::Pair MergeList::operator[](size_t rank) const noexcept {
  const Entry entry = entries_[rank];
  const std::string_view merged = std::string_view(arena_).substr(entry.offset, entry.length);
  return {merged.substr(0, entry.left_length), merged};
}

}  // namespace dunlin
