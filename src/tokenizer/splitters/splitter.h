// Splitters cut text into the pieces that byte pair encoding never crosses. Each is one published
// regular expression, matched by hand in one pass: no recursion, no backtracking, O(1) memory, O(n)
// over a text.
#pragma once

#include <cstddef>
#include <string_view>

namespace dunlin {

// The length in bytes of the first piece of `text`, which is valid UTF-8 and not empty. The rest of
// the text is split by calling again behind the piece.
using SplitFunction = size_t (*)(std::string_view text) noexcept;

struct Splitter {
  std::string_view name;  // of the tokenizer family, for messages
  SplitFunction first_piece;
};

extern const Splitter kLlama3Splitter;
extern const Splitter kQwen2Splitter;
extern const Splitter kGpt2Splitter;
extern const Splitter kSmolLm2Splitter;

}  // namespace dunlin
