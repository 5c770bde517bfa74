// The splitter of GPT-2 (openai/gpt-2, src/encoder.py).
#include "tokenizer/splitters/gpt2.h"

#include "tokenizer/splitters/character.h"
#include "tokenizer/splitters/splitter.h"

namespace dunlin {

size_t gpt2_first_piece(std::string_view text, bool isolate_numbers) noexcept {
  if (const size_t length = contraction_length(text); length != 0) return length;

  const Character first = character_at(text, 0);
  if (isolate_numbers && first.is(kNumber)) return first.length;

  const size_t word = text[0] == ' ' ? 1 : 0;
  const Character c = character_at(text, word);
  if (c.is(kLetter)) return end_of_letters(text, word);
  if (c.is(kNumber) && !isolate_numbers) {
    return end_of_run(text, word, [](Character digit) { return digit.is(kNumber); });
  }
  if (c.is_symbol()) return end_of_symbols(text, word);

  const WhitespaceRun run = whitespace_run(text);
  const Character next = character_at(text, run.end);
  return whitespace_piece(run, !next.at_end() && !(isolate_numbers && next.is(kNumber)));
}

namespace {
size_t first_piece(std::string_view text) noexcept {
  return gpt2_first_piece(text, false);
}
}  // namespace

const Splitter kGpt2Splitter = {"GPT-2", first_piece};

}  // namespace dunlin
