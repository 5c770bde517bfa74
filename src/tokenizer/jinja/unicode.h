// Code points of UTF-8 text with the character classes of Python's str methods.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace dunlin::jinja {

// The code point at `position`, which moves behind it. A byte that is not part of valid UTF-8
// counts as one code point, 0xDC00 + byte (Python's surrogateescape), and append_utf8 writes it
// back as that byte.
char32_t next_code_point(std::string_view text, size_t& position);
void append_utf8(char32_t code_point, std::string& out);

size_t count_code_points(std::string_view text);
// Byte offset of the code point `index`; text.size() when there are not as many.
size_t byte_offset(std::string_view text, size_t index);

bool is_space(char32_t c);       // str.isspace
bool is_line_break(char32_t c);  // where str.splitlines cuts
bool is_printable(char32_t c);   // str.isprintable
bool is_decimal_digit(char32_t c);
bool is_letter(char32_t c);  // str.isalpha
bool is_letter_or_digit(char32_t c);
bool is_cased(char32_t c);
bool is_upper(char32_t c);
bool is_lower(char32_t c);

// Appends the upper or lower case of one code point: the simple mappings of Unicode, and SS for a
// sharp s.
void append_upper(char32_t c, std::string& out);
void append_lower(char32_t c, std::string& out);

}  // namespace dunlin::jinja
