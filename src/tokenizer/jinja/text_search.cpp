// Searching with memmem, which is linear (two-way algorithm), and stripping by code points.
#include "tokenizer/jinja/text_search.h"

#include <cstring>
#include <unordered_set>

#include "tokenizer/jinja/unicode.h"

namespace dunlin::jinja {

size_t find_bytes(std::string_view text, std::string_view part, size_t from) {
  if (from > text.size()) return text.npos;
  const void* found = memmem(text.data() + from, text.size() - from, part.data(), part.size());
  return found ? static_cast<size_t>(static_cast<const char*>(found) - text.data()) : text.npos;
}

Text strip(const Text& text, const std::string* characters, Side side) {
  std::unordered_set<char32_t> set;
  if (characters) {
    for (size_t position = 0; position < characters->size();)
      set.insert(next_code_point(*characters, position));
  }
  size_t begin = text.size();
  size_t end = 0;
  for (size_t position = 0; position < text.size();) {
    const size_t start = position;
    const char32_t c = next_code_point(text.bytes(), position);
    if (characters ? set.count(c) > 0 : is_space(c)) continue;
    if (begin == text.size()) begin = start;
    end = position;
  }
  if (side == Side::right) begin = 0;
  if (side == Side::left) end = text.size();
  return text.slice(begin, std::max(begin, end));
}

}  // namespace dunlin::jinja
