// Splitters cut text into the pieces that byte pair encoding never crosses. The published patterns of
// the families below are matched by hand in one pass: no recursion, no allocation, O(1) memory, O(n)
// over a text. Any other pattern goes through splitters/pattern_splitter.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace dunlin {

// Half-open range of bytes of the text that was split.
struct Piece {
  uint32_t begin;
  uint32_t end;
};

// Writes the first pieces of `text`, which is valid UTF-8, not empty and below 4 GiB, until `pieces` is
// full or the text ends; returns how many. They follow each other without gaps, and none is empty. The
// rest of the text is split by calling again behind the last of them.
using SplitFunction = size_t (*)(std::string_view text, std::span<Piece> pieces) noexcept;

struct Splitter {
  std::string_view name;  // of the tokenizer family, for messages
  // What it does in the syntax of tokenizer.json: the pattern of a first step (isolated matches), or
  // nothing; whether numbers are then isolated one by one; whether GPT-2's pattern follows.
  std::string_view pattern;
  bool isolates_numbers;
  bool then_gpt2;
  SplitFunction split;
};

extern const Splitter kLlama3Splitter;
extern const Splitter kQwen2Splitter;
extern const Splitter kO200kSplitter;
extern const Splitter kGpt2Splitter;
extern const Splitter kSmolLm2Splitter;

}  // namespace dunlin
