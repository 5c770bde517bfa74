// Checks on text that comes from model files, and its safe form for messages.
#pragma once

#include <string>
#include <string_view>

namespace dunlin {

// Well-formed UTF-8 (Unicode 15, table 3-7): no overlong forms, surrogates or values above
// U+10FFFF.
bool is_utf8(std::string_view text);

// An ASCII letter or digit, in any locale.
constexpr bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// Not empty, only the visible ASCII characters 0x21..0x7e: what keys and tensor names consist of.
bool is_visible_ascii(std::string_view text);

// At most 80 bytes between double quotes, with '?' for everything that is not printable ASCII.
std::string quoted_text(std::string_view text);

}  // namespace dunlin
