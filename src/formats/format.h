// Number formats of weights: one traits row per format, with its scalar decoder and encoder. Block
// layouts are ggml's (byte for byte what PyPI `gguf` reads and writes); the same row serves
// safetensors' F32, F16 and BF16. I8, F8_E4M3 and F8_E5M2 are safetensors' own: their scales lie
// beside the elements (row_form.h), and the functions here take them for 1.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace dunlin {

enum class Format : uint8_t {
  f32,
  f16,
  bf16,
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q8_0,
  q2_k,
  q3_k,
  q4_k,
  q5_k,
  q6_k,
  mxfp4,
  i8,
  f8_e4m3,
  f8_e5m2
};

// Scales of a super-block format: scale[g] = d[block] * factor[g] and, with minima, min[g] =
// -(dmin[block] * min_factor[g]), one rounding each. d and dmin are F16 numbers.
struct FactorArrays {
  float* d;             // elements / block_elements
  int8_t* factors;      // elements / group
  float* dmin;          // as d; untouched without minima
  int8_t* min_factors;  // as factors; untouched without minima
};

// An integer format stores, per group of `group` consecutive k, value[k] = scale * code[k] + min,
// evaluated in float32 with a rounding after the product and one after the sum. The others,
// floating-point formats, have values only.
struct FormatTraits {
  Format format;
  const char* name;  // ggml's or safetensors' upper-case name: "F32", "Q4_K", "F8_E4M3"
  std::optional<uint32_t> ggml_type;  // type id in a GGUF tensor record, where GGUF has it
  int64_t block_elements;             // elements of one block; rows are whole blocks
  int64_t block_bytes;
  int64_t group;  // k that share a scale; 0 for a floating-point format
  int bits;       // width of a code; 0 for a floating-point format
  bool has_min;

  // `elements` (whole blocks) to float32.
  void (*decode)(const std::byte* blocks, int64_t elements, float* values);
  // Integer formats: codes[elements], of 2^bits values from 0 with minima and from -2^(bits - 1)
  // without; scales[elements / group], and mins of the same count when has_min (otherwise
  // untouched). MXFP4: as formats/mxfp4.h has it. Null for others.
  void (*decode_groups)(const std::byte* blocks, int64_t elements, int8_t* codes, float* scales,
                        float* mins);
  // Super-block formats, null for others: what decode_groups multiplies its scales from.
  void (*decode_factors)(const std::byte* blocks, int64_t elements, FactorArrays out);
  // float32 to whole blocks. F16 and BF16 round to nearest even, so do I8 and F8 within their
  // range; Q8_0 divides by the largest magnitude; the others search for a small sum of weighted
  // squared errors (weighted_fit.h). `importance` holds a non-negative finite number per element,
  // or is null: all are equal.
  void (*encode)(const float* values, int64_t elements, const float* importance, std::byte* blocks);

  // > 0: scales lie beside the elements and bring the largest of them to this number.
  float largest = 0.0f;

  // k that share a scale of decode_groups; 0 where there is none.
  int64_t code_group() const {
    if (decode_groups == nullptr) return 0;
    return group > 0 ? group : block_elements;
  }
  // Numbers as they are, without scales.
  bool is_plain() const { return block_elements == 1 && largest == 0.0f; }
};

const FormatTraits& traits(Format format);
std::span<const FormatTraits> all_formats();
std::optional<Format> format_from_ggml_type(uint32_t ggml_type);
std::optional<Format> parse_format(std::string_view name);  // case-insensitive

// Bytes of a row of `columns` elements; columns must be a multiple of block_elements.
inline int64_t row_bytes(const FormatTraits& format, int64_t columns) {
  return columns / format.block_elements * format.block_bytes;
}

}  // namespace dunlin
