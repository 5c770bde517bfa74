// The splitter of Llama 3 (tokenizer.json of meta-llama/Meta-Llama-3-8B, pre_tokenizer).
#include "tokenizer/splitters/llama3.h"

#include "tokenizer/splitters/character.h"
#include "tokenizer/splitters/splitter.h"

namespace dunlin {

size_t llama3_first_piece(std::string_view text, int max_digits) noexcept {
  if (const size_t length = contraction_length_any_case(text); length != 0) return length;

  const Character first = character_at(text, 0);
  if (first.is(kLetter)) return end_of_letters(text, first.length);
  if (first.is(kNumber)) {
    size_t end = first.length;
    for (int digits = 1; digits < max_digits; ++digits) {
      const Character c = character_at(text, end);
      if (!c.is(kNumber)) break;
      end += c.length;
    }
    return end;
  }
  // One character that is no newline joins the word behind it.
  if (!first.is(kNewline) && character_at(text, first.length).is(kLetter))
    return end_of_letters(text, first.length);

  const size_t symbols = text[0] == ' ' ? 1 : 0;
  if (character_at(text, symbols).is_symbol()) {
    return end_of_run(text, end_of_symbols(text, symbols),
                      [](Character c) { return c.is(kNewline); });
  }
  const WhitespaceRun run = whitespace_run(text);
  if (run.end_of_newlines != 0) return run.end_of_newlines;
  return whitespace_piece(run, run.end < text.size());
}

namespace {
size_t first_piece(std::string_view text) noexcept {
  return llama3_first_piece(text, 3);
}
}  // namespace

const Splitter kLlama3Splitter = {"Llama 3", first_piece};

}  // namespace dunlin
