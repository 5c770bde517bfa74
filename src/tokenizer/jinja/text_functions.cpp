// The tables are utf8proc's. Case follows the simple mappings of Unicode, and where a letter becomes
// several (SS for a sharp s) its case folding, which utf8proc has in full.
#include "tokenizer/jinja/text_functions.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace dunlin::jinja {
namespace {

constexpr char32_t kInvalidByte = 0xDC00;

utf8proc_category_t category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

bool is_cased(char32_t c) {
  return category(c) >= UTF8PROC_CATEGORY_LU && category(c) <= UTF8PROC_CATEGORY_LT;
}

bool is_line_break(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

bool begins_word(char32_t c) {
  return is_space(c) || c == U'-' || c == U'(' || c == U'{' || c == U'[' || c == U'<';
}

enum class Case { lower, upper, title };

utf8proc_int32_t simple_case(utf8proc_int32_t c, Case wanted) {
  if (wanted == Case::lower) return utf8proc_tolower(c);
  return wanted == Case::upper ? utf8proc_toupper(c) : utf8proc_totitle(c);
}

// Whether the letter may become several, whose lower case is what it folds to. Compared with Python
// over all of Unicode, only the title form of nine Greek letters with an iota below differs (U+1FB2).
bool may_grow(char32_t c, Case wanted) {
  const utf8proc_category_t found = category(c);
  if (c < 0x80 || wanted == Case::lower) return c == U'\u0130';
  if (found == UTF8PROC_CATEGORY_LU) return false;
  if (wanted == Case::upper) return true;
  const auto code = static_cast<utf8proc_int32_t>(c);
  return c == U'\u00DF' || (found != UTF8PROC_CATEGORY_LT && utf8proc_totitle(code) == code);
}

void append_converted(char32_t c, Case wanted, std::string& out) {
  constexpr utf8proc_ssize_t kMost = 4;
  const auto code = static_cast<utf8proc_int32_t>(c);
  utf8proc_int32_t folded[kMost] = {};
  int boundary = 0;
  const utf8proc_ssize_t length =
      may_grow(c, wanted)
          ? utf8proc_decompose_char(code, folded, kMost, UTF8PROC_CASEFOLD, &boundary)
          : 1;
  if (length <= 1 || length > kMost) {
    append_utf8(static_cast<char32_t>(simple_case(code, wanted)), out);
    return;
  }
  Case next = wanted;
  for (utf8proc_ssize_t i = 0; i < length; ++i) {
    append_utf8(static_cast<char32_t>(simple_case(folded[i], next)), out);
    if (next == Case::title && is_cased(static_cast<char32_t>(folded[i]))) next = Case::lower;
  }
}

// Calls choose(code point) -> Case for each code point.
template <typename Choose>
Text convert(const Text& text, Choose choose) {
  TextBuilder builder;
  OriginCursor origin(text);
  std::string converted;  // of the run of one origin
  bool run_trusted = false;
  for (size_t position = 0; position < text.size();) {
    if (const bool trusted = origin.trusted(position); trusted != run_trusted) {
      builder.append(converted, run_trusted);
      converted.clear();
      run_trusted = trusted;
    }
    const char32_t c = next_code_point(text.bytes(), position);
    append_converted(c, choose(c), converted);
  }
  builder.append(converted, run_trusted);
  return builder.take();
}

}  // namespace

char32_t next_code_point(std::string_view text, size_t& position) {
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + position;
  if (*bytes < 0x80) {
    ++position;
    return *bytes;
  }
  utf8proc_int32_t code_point = 0;
  const auto left = static_cast<utf8proc_ssize_t>(text.size() - position);
  const auto length = utf8proc_iterate(bytes, left, &code_point);
  if (length <= 0) {
    ++position;
    return kInvalidByte + *bytes;
  }
  position += static_cast<size_t>(length);
  return static_cast<char32_t>(code_point);
}

void append_utf8(char32_t code_point, std::string& out) {
  if (code_point > kInvalidByte && code_point <= kInvalidByte + 0xFF) {
    out.push_back(static_cast<char>(code_point - kInvalidByte));
    return;
  }
  utf8proc_uint8_t buffer[4];
  const auto length = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code_point), buffer);
  out.append(reinterpret_cast<const char*>(buffer), static_cast<size_t>(length));
}

size_t count_code_points(std::string_view text) {
  size_t count = 0;
  for (size_t position = 0; position < text.size(); ++count) next_code_point(text, position);
  return count;
}

size_t byte_offset(std::string_view text, size_t index) {
  size_t position = 0;
  for (; index > 0 && position < text.size(); --index) next_code_point(text, position);
  return position;
}

bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x1F) || c == 0x85 ||
         category(c) == UTF8PROC_CATEGORY_ZS || c == 0x2028 || c == 0x2029;
}

bool is_printable(char32_t c) {
  const utf8proc_category_t found = category(c);
  const bool other = found == UTF8PROC_CATEGORY_CN || found >= UTF8PROC_CATEGORY_CC;
  const bool separator = found >= UTF8PROC_CATEGORY_ZS && found <= UTF8PROC_CATEGORY_ZP;
  return c == U' ' || (!other && !separator);
}

bool is_decimal_digit(char32_t c) {
  return category(c) == UTF8PROC_CATEGORY_ND;
}

bool is_letter(char32_t c) {
  return category(c) >= UTF8PROC_CATEGORY_LU && category(c) <= UTF8PROC_CATEGORY_LO;
}

bool is_letter_or_digit(char32_t c) {
  const utf8proc_category_t found = category(c);
  return is_letter(c) || (found >= UTF8PROC_CATEGORY_ND && found <= UTF8PROC_CATEGORY_NO);
}

bool has_case(std::string_view text, bool upper) {
  bool any = false;
  for (size_t position = 0; position < text.size();) {
    const char32_t c = next_code_point(text, position);
    if (!is_cased(c)) continue;
    if ((category(c) == UTF8PROC_CATEGORY_LU) != upper) return false;
    any = true;
  }
  return any;
}

Text to_upper(const Text& text) {
  return convert(text, [](char32_t) { return Case::upper; });
}

Text to_lower(const Text& text) {
  return convert(text, [](char32_t) { return Case::lower; });
}

Text to_capitalized(const Text& text) {
  Case next = Case::title;
  return convert(text, [&](char32_t) { return std::exchange(next, Case::lower); });
}

Text to_title(const Text& text) {
  bool inside = false;
  return convert(text, [&](char32_t c) {
    return std::exchange(inside, is_cased(c)) ? Case::lower : Case::title;
  });
}

Text to_title_words(const Text& text) {
  bool start = true;
  return convert(text, [&](char32_t c) {
    return std::exchange(start, begins_word(c)) ? Case::upper : Case::lower;
  });
}

// memmem of glibc is the two-way algorithm.
size_t find_bytes(std::string_view text, std::string_view part, size_t from) {
  if (from > text.size()) return text.npos;
  const void* found = memmem(text.data() + from, text.size() - from, part.data(), part.size());
  return found ? static_cast<size_t>(static_cast<const char*>(found) - text.data()) : text.npos;
}

std::vector<ByteRange> split_lines(std::string_view text, bool keep_ends) {
  std::vector<ByteRange> lines;
  size_t begin = 0;
  for (size_t position = 0; position < text.size();) {
    const size_t at = position;
    const char32_t c = next_code_point(text, position);
    if (!is_line_break(c)) continue;
    if (c == U'\r' && position < text.size() && text[position] == '\n') ++position;
    lines.push_back({begin, keep_ends ? position : at});
    begin = position;
  }
  if (begin < text.size()) lines.push_back({begin, text.size()});
  return lines;
}

Text strip(const Text& text, const std::string* characters, Side side) {
  std::u32string set;  // sorted
  for (size_t position = 0; characters && position < characters->size();)
    set.push_back(next_code_point(*characters, position));
  std::sort(set.begin(), set.end());
  size_t begin = text.size();
  size_t end = 0;
  for (size_t position = 0; position < text.size();) {
    const size_t start = position;
    const char32_t c = next_code_point(text.bytes(), position);
    if (characters ? std::binary_search(set.begin(), set.end(), c) : is_space(c)) continue;
    if (begin == text.size()) begin = start;
    end = position;
  }
  if (side == Side::right) begin = 0;
  if (side == Side::left) end = text.size();
  return text.slice(begin, std::max(begin, end));
}

}  // namespace dunlin::jinja
