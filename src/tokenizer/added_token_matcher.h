// AddedTokenMatcher: finds the contents of added tokens in a text, the leftmost first and of those
// the longest.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dunlin {

struct AddedToken {
  int32_t id = 0;
  std::string content;      // valid UTF-8, not empty, at most AddedTokenMatcher::kMaxContent bytes
  bool special = false;     // control tokens; the others are ordinary text that is never split
  bool normalized = false;  // looked for in the normalised text instead of the raw one
};

class AddedTokenMatcher {
 public:
  // Bounds the time of a search: O(text length * kMaxContent) whatever the file says; O(text
  // length) in practice.
  static constexpr size_t kMaxContent = 512;

  struct Match {
    size_t begin;
    size_t end;
    int32_t id;
  };
  // Whether the token may stand at text[begin, end).
  using Permission = std::function<bool(const AddedToken& token, size_t begin, size_t end)>;

  AddedTokenMatcher() = default;
  explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

  // The first match at or after `from`. A token that `allowed` refuses is no match; a shorter one at
  // the same place may be.
  std::optional<Match> find(std::string_view text, size_t from, const Permission& allowed) const;

  bool empty() const { return tokens_.empty(); }

 private:
  // The next byte at or behind `from` that begins a token; text.size() when there is none.
  size_t next_beginning(std::string_view text, size_t from) const;
  const AddedToken* longest_at(std::string_view text, size_t begin,
                               const Permission& allowed) const;

  std::vector<AddedToken> tokens_;  // sorted by content: a search narrows an interval byte by byte
  std::array<bool, 256> begins_token_ = {};
  std::string first_bytes_;  // those of begins_token_
};

}  // namespace dunlin
