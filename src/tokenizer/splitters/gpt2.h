// The pattern of GPT-2, which SmolLM2 applies between digits.
#pragma once

#include <cstddef>
#include <string_view>

namespace dunlin {

// First piece of 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
// With `isolate_numbers` every \p{N} is first cut out as a piece, and the pattern sees the texts
// between as whole ones.
size_t gpt2_first_piece(std::string_view text, bool isolate_numbers) noexcept;

}  // namespace dunlin
