// UTF-8: reading characters of valid text, and finding what is invalid in any bytes. Invalid input
// is replaced by U+FFFD, one per maximal subpart (The Unicode Standard 15.0, section 3.9, "U+FFFD
// Substitution of Maximal Subparts").
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace dunlin {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

// What stands at the beginning of some bytes.
struct Utf8Sequence {
  enum class Kind : uint8_t {
    complete,   // one character
    invalid,    // a maximal subpart that nothing can complete
    truncated,  // the bytes end inside a sequence that is valid so far
  };
  Kind kind;
  uint8_t length;  // bytes, 1..4
};

// `bytes` must not be empty.
Utf8Sequence first_utf8_sequence(std::string_view bytes) noexcept;

// How many bytes at the beginning are valid.
size_t valid_utf8_prefix(std::string_view bytes) noexcept;
inline bool is_valid_utf8(std::string_view bytes) noexcept {
  return valid_utf8_prefix(bytes) == bytes.size();
}

// Appends `bytes` to `out`, every maximal invalid subpart (also a truncated end) as U+FFFD.
void append_valid_utf8(std::string_view bytes, std::string& out);

void append_utf8(char32_t code_point, std::string& out);

struct CodePoint {
  char32_t value;
  uint32_t length;  // bytes
};

// The character at `at` in valid UTF-8 text; at least one byte must be there.
inline CodePoint read_code_point(const char* at) noexcept {
  const auto byte = [at](int i) {
    return static_cast<char32_t>(static_cast<unsigned char>(at[i]));
  };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {(lead & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  if (lead < 0xF0) return {(lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
  return {(lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F),
          4};
}

}  // namespace dunlin
