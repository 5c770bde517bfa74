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

}  // namespace dunlin
