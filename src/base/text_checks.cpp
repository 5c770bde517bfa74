// Checks on text that comes from model files.
#include "base/text_checks.h"

#include <algorithm>
#include <cstdint>

namespace dunlin {
namespace {

// Length of the sequence that starts with `lead`, and the range of its second byte; 0 for a byte
// that starts none.
struct Sequence {
  size_t length;
  uint8_t low;
  uint8_t high;
};

Sequence sequence_of(uint8_t lead) {
  if (lead < 0x80) return {1, 0, 0};
  if (lead < 0xc2) return {0, 0, 0};
  if (lead < 0xe0) return {2, 0x80, 0xbf};
  if (lead == 0xe0) return {3, 0xa0, 0xbf};
  if (lead == 0xed) return {3, 0x80, 0x9f};
  if (lead < 0xf0) return {3, 0x80, 0xbf};
  if (lead == 0xf0) return {4, 0x90, 0xbf};
  if (lead < 0xf4) return {4, 0x80, 0xbf};
  if (lead == 0xf4) return {4, 0x80, 0x8f};
  return {0, 0, 0};
}

}  // namespace

bool is_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const Sequence sequence = sequence_of(static_cast<uint8_t>(text[at]));
    if (sequence.length == 0 || sequence.length > text.size() - at) return false;
    for (size_t i = 1; i < sequence.length; ++i) {
      const auto byte = static_cast<uint8_t>(text[at + i]);
      const uint8_t low = i == 1 ? sequence.low : 0x80;
      const uint8_t high = i == 1 ? sequence.high : 0xbf;
      if (byte < low || byte > high) return false;
    }
    at += sequence.length;
  }
  return true;
}

bool is_visible_ascii(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f; });
}

std::string quoted_text(std::string_view text) {
  constexpr size_t kLongest = 80;
  std::string result = "\"";
  for (const char c : text.substr(0, kLongest)) result += c >= 0x20 && c < 0x7f ? c : '?';
  result += text.size() > kLongest ? "...\"" : "\"";
  return result;
}

}  // namespace dunlin
