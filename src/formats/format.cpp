// The table of formats. Sizes and type ids are those of ggml.h (enum ggml_type) and ggml-common.h
// (block structs).
#include "formats/format.h"

#include <array>

#include "base/ascii.h"
#include "base/check.h"
#include "formats/codecs.h"

namespace dunlin {
namespace {

// Columns: format, name, ggml type, block elements, block bytes, group, bits, minimum, then the
// functions and the largest element.
constexpr std::array<FormatTraits, 17> kFormats = {{
    {Format::f32, "F32", 0, 1, 4, 0, 0, false, decode_f32, nullptr, nullptr, encode_f32},
    {Format::f16, "F16", 1, 1, 2, 0, 0, false, decode_f16, nullptr, nullptr, encode_f16},
    {Format::bf16, "BF16", 30, 1, 2, 0, 0, false, decode_bf16, nullptr, nullptr, encode_bf16},
    {Format::q4_0, "Q4_0", 2, 32, 18, 32, 4, false, decode_q4_0, decode_groups_q4_0, nullptr,
     encode_q4_0},
    {Format::q4_1, "Q4_1", 3, 32, 20, 32, 4, true, decode_q4_1, decode_groups_q4_1, nullptr,
     encode_q4_1},
    {Format::q5_0, "Q5_0", 6, 32, 22, 32, 5, false, decode_q5_0, decode_groups_q5_0, nullptr,
     encode_q5_0},
    {Format::q5_1, "Q5_1", 7, 32, 24, 32, 5, true, decode_q5_1, decode_groups_q5_1, nullptr,
     encode_q5_1},
    {Format::q8_0, "Q8_0", 8, 32, 34, 32, 8, false, decode_q8_0, decode_groups_q8_0, nullptr,
     encode_q8_0},
    {Format::q2_k, "Q2_K", 10, 256, 84, 16, 2, true, decode_q2_k, decode_groups_q2_k,
     decode_factors_q2_k, encode_q2_k},
    {Format::q3_k, "Q3_K", 11, 256, 110, 16, 3, false, decode_q3_k, decode_groups_q3_k,
     decode_factors_q3_k, encode_q3_k},
    {Format::q4_k, "Q4_K", 12, 256, 144, 32, 4, true, decode_q4_k, decode_groups_q4_k,
     decode_factors_q4_k, encode_q4_k},
    {Format::q5_k, "Q5_K", 13, 256, 176, 32, 5, true, decode_q5_k, decode_groups_q5_k,
     decode_factors_q5_k, encode_q5_k},
    {Format::q6_k, "Q6_K", 14, 256, 210, 16, 6, false, decode_q6_k, decode_groups_q6_k,
     decode_factors_q6_k, encode_q6_k},
    {Format::mxfp4, "MXFP4", 39, 32, 17, 0, 0, false, decode_mxfp4, decode_groups_mxfp4, nullptr,
     encode_mxfp4},
    {Format::i8, "I8", std::nullopt, 32, 32, 32, 8, false, decode_i8, decode_groups_i8, nullptr,
     encode_i8, 127.0f},
    {Format::f8_e4m3, "F8_E4M3", std::nullopt, 1, 1, 0, 0, false, decode_f8_e4m3, nullptr, nullptr,
     encode_f8_e4m3, 448.0f},
    {Format::f8_e5m2, "F8_E5M2", std::nullopt, 1, 1, 0, 0, false, decode_f8_e5m2, nullptr, nullptr,
     encode_f8_e5m2, 57344.0f},
}};

constexpr bool in_enum_order() {
  for (size_t i = 0; i < kFormats.size(); ++i) {
    if (static_cast<size_t>(kFormats[i].format) != i) return false;
  }
  return true;
}
static_assert(in_enum_order());

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
