// What the splitters share: classified characters of UTF-8 text, runs of a class, contractions and
// whitespace.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "tokenizer/splitters/splitter.h"
#include "tokenizer/unicode_classes.h"
#include "tokenizer/utf8.h"

namespace dunlin {

struct Character {
  uint8_t classes = 0;
  uint32_t length = 0;  // bytes; 0 behind the end of the text

  bool is(uint8_t any_of) const noexcept { return (classes & any_of) != 0; }
  // [^\s\p{L}\p{N}]
  bool is_symbol() const noexcept { return length != 0 && !is(kSpace | kLetter | kNumber); }
};

// A text whose characters are read with their classes.
class ClassifiedText {
 public:
  explicit ClassifiedText(std::string_view text) noexcept
      : text_(text), classes_(UnicodeClasses::instance()) {}

  size_t size() const noexcept { return text_.size(); }
  // The byte at `at`, or 0 behind the end.
  char byte(size_t at) const noexcept { return at < text_.size() ? text_[at] : '\0'; }
  bool has(std::string_view part, size_t at) const noexcept {
    return text_.substr(at, part.size()) == part;
  }
  // The character at `at`, which may be the end of the text.
  Character at(size_t at) const noexcept {
    if (at >= text_.size()) return {};
    const auto byte = static_cast<unsigned char>(text_[at]);
    if (byte < 0x80) return {classes_.of_ascii(byte), 1};
    const CodePoint c = read_code_point(text_.data() + at);
    return {classes_.of(c.value), c.length};
  }

 private:
  std::string_view text_;
  const UnicodeClasses& classes_;
};

// End of the run of characters for which `belongs` holds, from `at`.
template <typename Predicate>
size_t end_of_run(const ClassifiedText& text, size_t at, Predicate belongs) noexcept {
  for (Character c = text.at(at); c.length != 0 && belongs(c); c = text.at(at)) at += c.length;
  return at;
}

inline size_t end_of_class(const ClassifiedText& text, size_t at, uint8_t any_of) noexcept {
  return end_of_run(text, at, [any_of](Character c) { return c.is(any_of); });
}

inline size_t end_of_symbols(const ClassifiedText& text, size_t at) noexcept {
  return end_of_run(text, at, [](Character c) { return c.is_symbol(); });
}

// End of \p{N}{1,most}, whose first character stands at `at`.
size_t end_of_digits(const ClassifiedText& text, size_t at, int most) noexcept;

// End of `'s|'t|'re|'ve|'m|'ll|'d` at `at`, or `at`.
size_t end_of_contraction(const ClassifiedText& text, size_t at) noexcept;

// The same under (?i:...), where U+017F (long s) counts as s: simple case folding maps it there.
size_t end_of_contraction_any_case(const ClassifiedText& text, size_t at) noexcept;

// A run of whitespace; all are positions in the text.
struct WhitespaceRun {
  size_t begin;
  size_t end;
  size_t last_character;   // where the run's last character begins
  size_t end_of_newlines;  // behind the run's last CR or LF, `begin` when it has none
};
WhitespaceRun whitespace_run(const ClassifiedText& text, size_t at) noexcept;

// End of `\s+(?!\S)|\s+` for a run that is followed by a \S, or not: before one, the last character
// stays behind when it is not the only one.
inline size_t end_of_whitespace(const WhitespaceRun& run, bool followed_by_other) noexcept {
  return followed_by_other && run.last_character > run.begin ? run.last_character : run.end;
}

// End of `\s*[\r\n]+|\s+(?!\S)|\s+` at a \s.
size_t end_of_lines_or_whitespace(const ClassifiedText& text, size_t at) noexcept;

// A SplitFunction from the function that finds the end of the piece that begins at a position.
template <auto end_of_piece>
size_t split_into_pieces(std::string_view text, std::span<Piece> pieces) noexcept {
  const ClassifiedText classified(text);
  size_t count = 0;
  for (size_t at = 0; at < text.size() && count < pieces.size(); ++count) {
    const size_t end = end_of_piece(classified, at);
    pieces[count] = {static_cast<uint32_t>(at), static_cast<uint32_t>(end)};
    at = end;
  }
  return count;
}

}  // namespace dunlin
