// Escape sequences (Python reference, section 2.4.1, as its codec "unicode_escape" reads them).
#include "tokenizer/jinja/string_literal.h"

#include <algorithm>
#include <charconv>

#include "tokenizer/jinja/unicode.h"

namespace dunlin::jinja {
namespace {

// Appends the code point that `count` hexadecimal digits at `position` name.
bool append_hex(std::string_view text, size_t position, size_t count, std::string& out) {
  if (position + count > text.size()) return false;
  uint32_t code = 0;
  const char* end = text.data() + position + count;
  const auto parsed = std::from_chars(text.data() + position, end, code, 16);
  const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
  if (parsed.ec != std::errc() || parsed.ptr != end || code > 0x10FFFF || surrogate) return false;
  append_utf8(code, out);
  return true;
}

// Appends the code point of up to three octal digits at `position` and returns how many there were.
size_t append_octal(std::string_view text, size_t position, std::string& out) {
  uint32_t code = 0;
  size_t count = 0;
  for (; count < 3 && position + count < text.size(); ++count) {
    const char c = text[position + count];
    if (c < '0' || c > '7') break;
    code = code * 8 + static_cast<uint32_t>(c - '0');
  }
  append_utf8(code, out);
  return count;
}

}  // namespace

std::optional<std::string> unescape_string(std::string_view text) {
  static constexpr std::string_view kNames = "\\'\"abfnrtv";
  static constexpr std::string_view kValues = "\\'\"\a\b\f\n\r\t\v";
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out.push_back(text[i]);
      continue;
    }
    const char c = text[++i];
    const size_t name = kNames.find(c);
    if (name != kNames.npos) {
      out.push_back(kValues[name]);
    } else if (c == '\n') {
      continue;
    } else if (c == 'x' || c == 'u' || c == 'U') {
      const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
      if (!append_hex(text, i + 1, digits, out)) return std::nullopt;
      i += digits;
    } else if (c >= '0' && c <= '7') {
      i += append_octal(text, i, out) - 1;
    } else if (c == 'N') {
      return std::nullopt;
    } else {
      out.push_back('\\');
      out.push_back(c);
    }
  }
  return out;
}

}  // namespace dunlin::jinja
