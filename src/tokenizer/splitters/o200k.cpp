// The splitter of o200k: GPT-4o and GPT-OSS (tokenizer.json of openai/gpt-oss-20b, pre_tokenizer). With
// U = [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}], L = [\p{Ll}\p{Lm}\p{Lo}\p{M}] and C a contraction in any case:
//   [^\r\n\p{L}\p{N}]?U*L+C?|[^\r\n\p{L}\p{N}]?U+L*C?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|
//   \s*[\r\n]+|\s+(?!\S)|\s+
#include "tokenizer/splitters/character.h"
#include "tokenizer/splitters/splitter.h"

namespace dunlin {
namespace {

struct Word {
  size_t end;           // of U*L+, or `begin` where that does not match
  size_t end_of_upper;  // of the longest U*
};

// U takes all it can. When no L follows, it gives back the last character that is also an L, and with
// it everything behind, which only U could hold: the match ends behind that character.
Word match_word(const ClassifiedText& text, size_t begin) noexcept {
  Word word = {begin, begin};
  Character c = text.at(begin);
  for (; c.is(kUpperPart); c = text.at(word.end_of_upper)) {
    word.end_of_upper += c.length;
    if (c.is(kLowerPart)) word.end = word.end_of_upper;
  }
  if (c.is(kLowerPart)) word.end = end_of_class(text, word.end_of_upper, kLowerPart);
  return word;
}

// The two alternatives for words, or `begin`. The optional first character is tried before its
// absence, and the first alternative before the second.
size_t end_of_word(const ClassifiedText& text, size_t begin, Character first) noexcept {
  const size_t start = begin + first.length;
  Word behind_prefix = {start, start};
  if (!first.is(kNewline | kLetter | kNumber)) {
    behind_prefix = match_word(text, start);
    if (behind_prefix.end != start) return behind_prefix.end;
  }
  const Word word = match_word(text, begin);
  if (word.end != begin) return word.end;
  if (behind_prefix.end_of_upper != start) return behind_prefix.end_of_upper;
  return word.end_of_upper;
}

size_t end_of_o200k_piece(const ClassifiedText& text, size_t begin) noexcept {
  const Character first = text.at(begin);
  if (first.is(kNumber)) return end_of_digits(text, begin, 3);
  if (const size_t end = end_of_word(text, begin, first); end != begin)
    return end_of_contraction_any_case(text, end);

  size_t end = begin + (text.byte(begin) == ' ' ? 1 : 0);
  if (!text.at(end).is_symbol()) return end_of_lines_or_whitespace(text, begin);
  end = end_of_symbols(text, end);
  while (text.byte(end) == '\r' || text.byte(end) == '\n' || text.byte(end) == '/') ++end;
  return end;
}

}  // namespace

const Splitter kO200kSplitter = {
    "o200k",
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
    false, false, split_into_pieces<end_of_o200k_piece>};

}  // namespace dunlin
