// The table of formats. Sizes and type ids are those of ggml.h (enum ggml_type) and ggml-common.h
// (block structs).
#include "formats/format.h"

#include <array>
#include <cctype>

#include "base/check.h"
#include "formats/codecs.h"

namespace dunlin {
namespace {

// Columns: format, name, ggml type, block elements, block bytes, group, bits, minimum, then the
// functions.
constexpr std::array<FormatTraits, 8> kFormats = {{
    {Format::f32, "F32", 0, 1, 4, 0, 0, false, decode_f32, nullptr, encode_f32},
    {Format::f16, "F16", 1, 1, 2, 0, 0, false, decode_f16, nullptr, encode_f16},
    {Format::bf16, "BF16", 30, 1, 2, 0, 0, false, decode_bf16, nullptr, encode_bf16},
    {Format::q4_0, "Q4_0", 2, 32, 18, 32, 4, false, decode_q4_0, decode_groups_q4_0, encode_q4_0},
    {Format::q4_1, "Q4_1", 3, 32, 20, 32, 4, true, decode_q4_1, decode_groups_q4_1, encode_q4_1},
    {Format::q8_0, "Q8_0", 8, 32, 34, 32, 8, false, decode_q8_0, decode_groups_q8_0, encode_q8_0},
    {Format::q4_k, "Q4_K", 12, 256, 144, 32, 4, true, decode_q4_k, decode_groups_q4_k, nullptr},
    {Format::q6_k, "Q6_K", 14, 256, 210, 16, 8, false, decode_q6_k, decode_groups_q6_k, nullptr},
}};

constexpr bool in_enum_order() {
  for (size_t i = 0; i < kFormats.size(); ++i) {
    if (static_cast<size_t>(kFormats[i].format) != i) return false;
  }
  return true;
}
static_assert(in_enum_order());

bool same_letters(std::string_view name, std::string_view upper_case) {
  if (name.size() != upper_case.size()) return false;
  for (size_t i = 0; i < name.size(); ++i) {
    if (std::toupper(static_cast<unsigned char>(name[i])) != upper_case[i]) return false;
  }
  return true;
}

}  // namespace

const FormatTraits& traits(Format format) {
  const auto index = static_cast<size_t>(format);
  DUNLIN_CHECK(index < kFormats.size(), "unknown format");
  return kFormats[index];
}

std::span<const FormatTraits> all_formats() {
  return kFormats;
}

std::optional<Format> format_from_ggml_type(uint32_t ggml_type) {
  for (const FormatTraits& row : kFormats) {
    if (row.ggml_type == ggml_type) return row.format;
  }
  return std::nullopt;
}

std::optional<Format> parse_format(std::string_view name) {
  for (const FormatTraits& row : kFormats) {
    if (same_letters(name, row.name)) return row.format;
  }
  return std::nullopt;
}

}  // namespace dunlin
