#include "tokenizer/byte_alphabet.h"

#include <array>
#include <cstdint>

#include "tokenizer/utf8.h"

namespace dunlin {
namespace {

constexpr bool stands_for_itself(int byte) {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

using ByteOfCodePoint =
    std::array<int16_t, 256 + 68>;  // -1 where a code point is not in the alphabet

constexpr ByteOfCodePoint make_alphabet() {
  ByteOfCodePoint byte_of;
  byte_of.fill(-1);
  size_t next = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const size_t code_point = stands_for_itself(byte) ? static_cast<size_t>(byte) : next++;
    byte_of[code_point] = static_cast<int16_t>(byte);
  }
  return byte_of;
}

constexpr ByteOfCodePoint kByteOfCodePoint = make_alphabet();

std::array<char16_t, 256> invert_alphabet() {
  std::array<char16_t, 256> code_point_of = {};
  for (size_t c = 0; c < kByteOfCodePoint.size(); ++c) {
    if (kByteOfCodePoint[c] >= 0)
      code_point_of[static_cast<size_t>(kByteOfCodePoint[c])] = static_cast<char16_t>(c);
  }
  return code_point_of;
}

}  // namespace

bool append_from_byte_alphabet(std::string_view text, std::string& bytes) {
  const size_t size_before = bytes.size();
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = read_code_point(text.data() + i);
    const int byte = c.value < kByteOfCodePoint.size() ? kByteOfCodePoint[c.value] : -1;
    if (byte < 0) {
      bytes.resize(size_before);
      return false;
    }
    bytes.push_back(static_cast<char>(static_cast<unsigned char>(byte)));
    i += c.length;
  }
  return true;
}

std::string to_byte_alphabet(std::string_view bytes) {
  static const std::array<char16_t, 256> code_point_of = invert_alphabet();
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const char byte : bytes) append_utf8(code_point_of[static_cast<unsigned char>(byte)], text);
  return text;
}

}  // namespace dunlin
