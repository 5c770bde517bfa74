// The pattern of GPT-2, which SmolLM2 applies between digits.
#pragma once

#include <cstddef>

#include "tokenizer/splitters/character.h"

namespace dunlin {

// End of the piece at `begin` of 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
// With `isolate_numbers` every \p{N} is first cut out as a piece, and the pattern sees the texts between
// as whole ones.
template <bool isolate_numbers>
size_t end_of_gpt2_piece(const ClassifiedText& text, size_t begin) noexcept {
  if (const size_t end = end_of_contraction(text, begin); end != begin) return end;

  if (isolate_numbers && text.at(begin).is(kNumber)) return begin + text.at(begin).length;

  const size_t word = begin + (text.byte(begin) == ' ' ? 1 : 0);
  const Character c = text.at(word);
  if (c.is(kLetter)) return end_of_class(text, word, kLetter);
  if (!isolate_numbers && c.is(kNumber)) return end_of_class(text, word, kNumber);
  if (c.is_symbol()) return end_of_symbols(text, word);

  const WhitespaceRun run = whitespace_run(text, begin);
  const Character next = text.at(run.end);
  return end_of_whitespace(run, next.length != 0 && !(isolate_numbers && next.is(kNumber)));
}

}  // namespace dunlin
