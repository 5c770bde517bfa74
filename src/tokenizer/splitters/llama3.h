// The pattern that Llama 3 and Qwen2 share up to the number of digits in a piece.
#pragma once

#include <cstddef>
#include <string_view>

namespace dunlin {

// First piece of
//   (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,max_digits}|
//   ?[^\s\p{L}\p{N}]+[\r\n]*|
//   \s*[\r\n]+|\s+(?!\S)|\s+
size_t llama3_first_piece(std::string_view text, int max_digits) noexcept;

}  // namespace dunlin
