// What the splitters share: classified characters of UTF-8 text, runs of a class, contractions and
// whitespace.
#pragma once

#include <cstddef>
#include <string_view>

#include "tokenizer/unicode_classes.h"
#include "tokenizer/utf8.h"

namespace dunlin {

struct Character {
  uint8_t classes = 0;
  uint32_t length = 0;  // bytes; 0 behind the end of the text

  bool is(uint8_t any_of) const noexcept { return (classes & any_of) != 0; }
  bool at_end() const noexcept { return length == 0; }
  // [^\s\p{L}\p{N}]
  bool is_symbol() const noexcept { return length != 0 && !is(kSpace | kLetter | kNumber); }
};

inline Character character_at(std::string_view text, size_t at) noexcept {
  if (at >= text.size()) return {};
  const CodePoint c = read_code_point(text.data() + at);
  return {UnicodeClasses::instance().of(c.value), c.length};
}

// End of the run of characters for which `belongs` holds, from `at`.
template <typename Predicate>
size_t end_of_run(std::string_view text, size_t at, Predicate belongs) noexcept {
  for (Character c = character_at(text, at); !c.at_end() && belongs(c); c = character_at(text, at))
    at += c.length;
  return at;
}

inline size_t end_of_letters(std::string_view text, size_t at) noexcept {
  return end_of_run(text, at, [](Character c) { return c.is(kLetter); });
}

inline size_t end_of_symbols(std::string_view text, size_t at) noexcept {
  return end_of_run(text, at, [](Character c) { return c.is_symbol(); });
}

// Length of `'s|'t|'re|'ve|'m|'ll|'d` at the start of the text, or 0.
size_t contraction_length(std::string_view text) noexcept;

// The same under (?i:...), where U+017F (long s) counts as s: simple case folding maps it there.
size_t contraction_length_any_case(std::string_view text) noexcept;

// A run of whitespace at the start of a text.
struct WhitespaceRun {
  size_t end = 0;
  size_t last_character = 0;   // where the run's last character begins
  size_t end_of_newlines = 0;  // behind the run's last CR or LF, 0 when it has none
};
WhitespaceRun whitespace_run(std::string_view text) noexcept;

// Length of `\s+(?!\S)|\s+` for a run that is followed by a \S, or not: before one, the last
// character stays behind when it is not the only one.
inline size_t whitespace_piece(const WhitespaceRun& run, bool followed_by_other) noexcept {
  return followed_by_other && run.last_character > 0 ? run.last_character : run.end;
}

}  // namespace dunlin
