// Case conversions and lines of strings, after Python's str; every byte keeps its origin.
#pragma once

#include <string_view>
#include <vector>

#include "tokenizer/jinja/text.h"

namespace dunlin::jinja {

Text to_upper(const Text& text);
Text to_lower(const Text& text);
Text to_capitalized(const Text& text);  // str.capitalize
Text to_title(const Text& text);        // str.title: a capital at the start of every run of letters
Text to_title_words(
    const Text& text);  // Jinja's filter: words begin behind whitespace and - ( { [ <

// str.isupper or str.islower: there is a cased character, and all of them have that case.
bool has_case(std::string_view text, bool upper);

// The lines of a text as str.splitlines cuts them, with or without their ends.
std::vector<ByteRange> line_ranges(std::string_view text, bool keep_ends);

}  // namespace dunlin::jinja
