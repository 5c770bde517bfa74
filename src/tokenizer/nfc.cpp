// utf8proc decomposes and composes; the canonical ordering is done here, because utf8proc 2.8 sorts
// by exchanging neighbours: 10^5 combining marks in alternating classes would take minutes.
#include "tokenizer/nfc.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/check.h"
#include "tokenizer/unicode_classes.h"
#include "tokenizer/utf8.h"

namespace dunlin {
namespace {

int combining_class(int32_t code_point) {
  return utf8proc_get_property(code_point)->combining_class;
}

// Sorts every run of combining marks by class, keeping the order of equal classes.
// (std::stable_sort of libstdc++ 12 uses a function that clang 19 reports as deprecated; the
// position as the second key gives the same order.)
void order_canonically(std::vector<int32_t>& code_points) {
  constexpr int kCodePointBits = 21;
  constexpr int kPositionBits = 35;
  const auto is_mark = [](int32_t c) { return combining_class(c) != 0; };
  std::vector<uint64_t> keys;
  auto at = code_points.begin();
  while (true) {
    const auto begin = std::find_if(at, code_points.end(), is_mark);
    if (begin == code_points.end()) return;
    at = std::find_if_not(begin, code_points.end(), is_mark);
    keys.clear();
    for (auto mark = begin; mark != at; ++mark) {
      const auto mark_class = static_cast<uint64_t>(combining_class(*mark));
      keys.push_back(mark_class << (kPositionBits + kCodePointBits) |
                     uint64_t{keys.size()} << kCodePointBits | static_cast<uint64_t>(*mark));
    }
    std::sort(keys.begin(), keys.end());
    std::transform(keys.begin(), keys.end(), begin, [](uint64_t key) {
      return static_cast<int32_t>(key & ((uint64_t{1} << kCodePointBits) - 1));
    });
  }
}

// Appends the NFC of `text`, which begins and ends at normalisation boundaries.
void append_composed(std::string_view text, std::vector<int32_t>& work, std::string& out) {
  work.clear();
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = read_code_point(text.data() + i);
    std::array<int32_t, 4> parts;  // a canonical decomposition has at most four code points
    int boundary_class = 0;
    const auto length = utf8proc_decompose_char(
        static_cast<int32_t>(c.value), parts.data(), parts.size(),
        static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE), &boundary_class);
    DUNLIN_CHECK(length >= 0 && length <= 4, "canonical decomposition of a Unicode scalar value");
    work.insert(work.end(), parts.begin(), parts.begin() + length);
    i += c.length;
  }
  order_canonically(work);
  const auto composed =
      utf8proc_normalize_utf32(work.data(), static_cast<utf8proc_ssize_t>(work.size()),
                               static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  DUNLIN_CHECK(composed >= 0, "composition of decomposed text");
  for (utf8proc_ssize_t i = 0; i < composed; ++i) {
    append_utf8(static_cast<char32_t>(work[static_cast<size_t>(i)]), out);
  }
}

}  // namespace

bool is_surely_nfc(std::string_view text) noexcept {
  const UnicodeClasses& classes = UnicodeClasses::instance();
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = read_code_point(text.data() + i);
    if (c.value >= 0x80 && (classes.of(c.value) & kNfcInert) == 0) return false;
    i += c.length;
  }
  return true;
}

std::string to_nfc(std::string_view text) {
  const UnicodeClasses& classes = UnicodeClasses::instance();
  std::string out;
  out.reserve(text.size());
  std::vector<int32_t> work;
  size_t boundary = 0;   // start of the last inert character; text before it is in `out`
  bool changes = false;  // a character that NFC may change stands in [boundary, i)
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = read_code_point(text.data() + i);
    if ((classes.of(c.value) & kNfcInert) == 0) {
      changes = true;
    } else {
      const std::string_view segment = text.substr(boundary, i - boundary);
      if (changes) {
        append_composed(segment, work, out);
      } else {
        out.append(segment);
      }
      boundary = i;
      changes = false;
    }
    i += c.length;
  }
  if (changes) {
    append_composed(text.substr(boundary), work, out);
  } else {
    out.append(text.substr(boundary));
  }
  return out;
}

}  // namespace dunlin
