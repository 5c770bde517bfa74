#include "tokenizer/utf8.h"

#include <cstring>

namespace dunlin {
namespace {

// Number of leading ASCII bytes, eight at a time.
size_t ascii_prefix(std::string_view bytes) noexcept {
  size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, bytes.data() + i, 8);
    if ((word & 0x8080808080808080u) != 0) break;
  }
  while (i < bytes.size() && static_cast<unsigned char>(bytes[i]) < 0x80) ++i;
  return i;
}

struct LeadByte {
  uint8_t length;      // bytes of the whole sequence, 0 when no sequence begins with this byte
  uint8_t second_low;  // the second byte's range (Unicode 15.0, table 3-7); later ones are 80..BF
  uint8_t second_high;
};

LeadByte lead_byte(uint8_t byte) noexcept {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

}  // namespace

Utf8Sequence first_utf8_sequence(std::string_view bytes) noexcept {
  using Kind = Utf8Sequence::Kind;
  const LeadByte lead = lead_byte(static_cast<uint8_t>(bytes[0]));
  if (lead.length == 0) return {Kind::invalid, 1};
  for (uint8_t i = 1; i < lead.length; ++i) {
    if (i >= bytes.size()) return {Kind::truncated, i};
    const auto byte = static_cast<uint8_t>(bytes[i]);
    const uint8_t low = i == 1 ? lead.second_low : uint8_t{0x80};
    const uint8_t high = i == 1 ? lead.second_high : uint8_t{0xBF};
    if (byte < low || byte > high) return {Kind::invalid, i};
  }
  return {Kind::complete, lead.length};
}

size_t valid_utf8_prefix(std::string_view bytes) noexcept {
  size_t i = 0;
  while (true) {
    i += ascii_prefix(bytes.substr(i));
    if (i == bytes.size()) return i;
    const Utf8Sequence sequence = first_utf8_sequence(bytes.substr(i));
    if (sequence.kind != Utf8Sequence::Kind::complete) return i;
    i += sequence.length;
  }
}

void append_valid_utf8(std::string_view bytes, std::string& out) {
  size_t copied = 0;  // bytes[0, copied) are in `out`
  size_t i = 0;
  while (true) {
    i += ascii_prefix(bytes.substr(i));
    if (i == bytes.size()) break;
    const Utf8Sequence sequence = first_utf8_sequence(bytes.substr(i));
    if (sequence.kind != Utf8Sequence::Kind::complete) {
      out.append(bytes.substr(copied, i - copied));
      out.append(kReplacementCharacter);
      copied = i + sequence.length;
    }
    i += sequence.length;
  }
  out.append(bytes.substr(copied));
}

void append_utf8(char32_t code_point, std::string& out) {
  const auto push = [&out](char32_t byte) {
    out.push_back(static_cast<char>(static_cast<unsigned char>(byte)));
  };
  if (code_point < 0x80) {
    push(code_point);
  } else if (code_point < 0x800) {
    push(0xC0 | code_point >> 6);
    push(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    push(0xE0 | code_point >> 12);
    push(0x80 | (code_point >> 6 & 0x3F));
    push(0x80 | (code_point & 0x3F));
  } else {
    push(0xF0 | code_point >> 18);
    push(0x80 | (code_point >> 12 & 0x3F));
    push(0x80 | (code_point >> 6 & 0x3F));
    push(0x80 | (code_point & 0x3F));
  }
}

}  // namespace dunlin
