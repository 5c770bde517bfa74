#include "tokenizer/splitters/character.h"

#include "base/ascii.h"

namespace dunlin {
namespace {

// `second` and `third` are lower-case ASCII; 0 stands for nothing.
size_t contraction_length(char second, char third) noexcept {
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

}  // namespace

size_t end_of_digits(const ClassifiedText& text, size_t at, int most) noexcept {
  size_t end = at;
  for (int digits = 0; digits < most; ++digits) {
    const Character c = text.at(end);
    if (!c.is(kNumber)) break;
    end += c.length;
  }
  return end;
}

size_t end_of_contraction(const ClassifiedText& text, size_t at) noexcept {
  if (text.byte(at) != '\'') return at;
  return at + contraction_length(text.byte(at + 1), text.byte(at + 2));
}

size_t end_of_contraction_any_case(const ClassifiedText& text, size_t at) noexcept {
  constexpr std::string_view kLongS = "\xC5\xBF";
  if (text.byte(at) != '\'') return at;
  if (text.has(kLongS, at + 1)) return at + 1 + kLongS.size();
  return at + contraction_length(ascii_lower(text.byte(at + 1)), ascii_lower(text.byte(at + 2)));
}

WhitespaceRun whitespace_run(const ClassifiedText& text, size_t at) noexcept {
  WhitespaceRun run = {at, at, at, at};
  for (Character c = text.at(at); c.is(kSpace); c = text.at(run.end)) {
    run.last_character = run.end;
    run.end += c.length;
    if (c.is(kNewline)) run.end_of_newlines = run.end;
  }
  return run;
}

size_t end_of_lines_or_whitespace(const ClassifiedText& text, size_t at) noexcept {
  const WhitespaceRun run = whitespace_run(text, at);
  if (run.end_of_newlines != at) return run.end_of_newlines;
  return end_of_whitespace(run, run.end < text.size());
}

}  // namespace dunlin
