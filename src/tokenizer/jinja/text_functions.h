// UTF-8 text as Python's str sees it: code points with their classes, and the methods that cut, search
// and change a string while every byte keeps its origin.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/jinja/text.h"

namespace dunlin::jinja {

// The code point at `position`, which moves behind it. A byte that is not part of valid UTF-8
// counts as one code point, 0xDC00 + byte (Python's surrogateescape), and append_utf8 writes it
// back as that byte.
char32_t next_code_point(std::string_view text, size_t& position);
void append_utf8(char32_t code_point, std::string& out);
size_t count_code_points(std::string_view text);
// Byte offset of the code point `index`; text.size() when there are not as many.
size_t byte_offset(std::string_view text, size_t index);

bool is_space(char32_t c);      // str.isspace
bool is_printable(char32_t c);  // str.isprintable
bool is_decimal_digit(char32_t c);
bool is_letter(char32_t c);           // str.isalpha
bool is_letter_or_digit(char32_t c);  // str.isalnum
// Whether there are cased letters and all are upper case, or all lower case (str.isupper, islower).
bool has_case(std::string_view text, bool upper);

Text to_upper(const Text& text);
Text to_lower(const Text& text);
Text to_capitalized(const Text& text);  // str.capitalize
Text to_title(const Text& text);        // str.title: a capital at the start of every run of letters
Text to_title_words(
    const Text& text);  // Jinja's filter: words begin behind whitespace and - ( { [ <

// Where `part` begins in `text` at or behind `from`; npos when it does not. Linear time.
size_t find_bytes(std::string_view text, std::string_view part, size_t from);

// The lines of str.splitlines, with or without their ends.
std::vector<ByteRange> split_lines(std::string_view text, bool keep_ends);

enum class Side { left, right, both };
// The text without whitespace, or without the code points of `characters` unless that is nullptr,
// at its ends.
Text strip(const Text& text, const std::string* characters, Side side);

}  // namespace dunlin::jinja
