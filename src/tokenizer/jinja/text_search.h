// Searching and cutting strings, in time linear in the text whatever it holds.
#pragma once

#include <cstddef>
#include <string_view>

#include "tokenizer/jinja/text.h"

namespace dunlin::jinja {

// Where `part` begins in `text` at or behind `from`; npos when it does not.
size_t find_bytes(std::string_view text, std::string_view part, size_t from);

enum class Side { left, right, both };
// The text without whitespace, or without the code points of `characters` unless that is nullptr,
// at its ends.
Text strip(const Text& text, const std::string* characters, Side side);

}  // namespace dunlin::jinja
