// The pattern that Llama 3 and Qwen2 share up to the number of digits in a piece.
#pragma once

#include <cstddef>

#include "tokenizer/splitters/character.h"

namespace dunlin {

// End of the piece at `begin` of
//   (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,max_digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|
//   \s*[\r\n]+|\s+(?!\S)|\s+
template <int max_digits>
size_t end_of_llama3_piece(const ClassifiedText& text, size_t begin) noexcept {
  if (const size_t end = end_of_contraction_any_case(text, begin); end != begin) return end;

  const Character first = text.at(begin);
  if (first.is(kLetter)) return end_of_class(text, begin + first.length, kLetter);
  if (first.is(kNumber)) return end_of_digits(text, begin, max_digits);
  // One character that is no newline joins the word behind it.
  if (!first.is(kNewline)) {
    const Character second = text.at(begin + first.length);
    if (second.is(kLetter))
      return end_of_class(text, begin + first.length + second.length, kLetter);
  }
  const size_t symbols = begin + (text.byte(begin) == ' ' ? 1 : 0);
  if (text.at(symbols).is_symbol())
    return end_of_class(text, end_of_symbols(text, symbols), kNewline);
  return end_of_lines_or_whitespace(text, begin);
}

}  // namespace dunlin
