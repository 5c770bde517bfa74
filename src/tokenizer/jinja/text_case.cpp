// Case conversions, one code point at a time.
#include "tokenizer/jinja/text_case.h"

#include <string>
#include <utility>

#include "tokenizer/jinja/unicode.h"

namespace dunlin::jinja {
namespace {

void append_converted(char32_t c, bool upper, std::string& out) {
  if (c < 0x80) {
    const bool changes = upper ? c >= U'a' && c <= U'z' : c >= U'A' && c <= U'Z';
    out.push_back(static_cast<char>(changes ? c ^ 0x20 : c));
  } else if (upper) {
    append_upper(c, out);
  } else {
    append_lower(c, out);
  }
}

// Calls choose(code point) -> bool for each code point: true for upper case, false for lower case.
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

bool begins_word(char32_t c) {
  return is_space(c) || c == U'-' || c == U'(' || c == U'{' || c == U'[' || c == U'<';
}

}  // namespace

Text to_upper(const Text& text) {
  return convert(text, [](char32_t) { return true; });
}

Text to_lower(const Text& text) {
  return convert(text, [](char32_t) { return false; });
}

Text to_capitalized(const Text& text) {
  bool first = true;
  return convert(text, [&](char32_t) { return std::exchange(first, false); });
}

Text to_title(const Text& text) {
  bool inside = false;
  return convert(text, [&](char32_t c) { return !std::exchange(inside, is_cased(c)); });
}

Text to_title_words(const Text& text) {
  bool start = true;
  return convert(text, [&](char32_t c) { return std::exchange(start, begins_word(c)); });
}

bool has_case(std::string_view text, bool upper) {
  bool any = false;
  for (size_t position = 0; position < text.size();) {
    const char32_t c = next_code_point(text, position);
    if (!is_cased(c)) continue;
    if (is_upper(c) != upper) return false;
    any = true;
  }
  return any;
}

std::vector<ByteRange> line_ranges(std::string_view text, bool keep_ends) {
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

}  // namespace dunlin::jinja
