#include "tokenizer/splitters/character.h"

namespace dunlin {
namespace {

// `second` and `third` are lower-case ASCII; 0 stands for nothing.
size_t suffix_length(char second, char third) noexcept {
  switch (second) {
    case 's':
    case 't':
    case 'm':
    case 'd':
      return 2;
    case 'r':
    case 'v':
      return third == 'e' ? 3 : 0;
    case 'l':
      return third == 'l' ? 3 : 0;
    default:
      return 0;
  }
}

char byte_or_zero(std::string_view text, size_t at) noexcept {
  return at < text.size() ? text[at] : '\0';
}

char lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

}  // namespace

size_t contraction_length(std::string_view text) noexcept {
  if (text[0] != '\'') return 0;
  return suffix_length(byte_or_zero(text, 1), byte_or_zero(text, 2));
}

size_t contraction_length_any_case(std::string_view text) noexcept {
  constexpr std::string_view kLongS = "\xC5\xBF";
  if (text[0] != '\'') return 0;
  if (text.substr(1, kLongS.size()) == kLongS) return 1 + kLongS.size();
  return suffix_length(lower(byte_or_zero(text, 1)), lower(byte_or_zero(text, 2)));
}

WhitespaceRun whitespace_run(std::string_view text) noexcept {
  WhitespaceRun run;
  for (Character c = character_at(text, 0); c.is(kSpace); c = character_at(text, run.end)) {
    run.last_character = run.end;
    run.end += c.length;
    if (c.is(kNewline)) run.end_of_newlines = run.end;
  }
  return run;
}

}  // namespace dunlin
