// Packed weights: the few layouts every CPU kernel reads, made once at load from any number format.
//
// A matrix [rows, columns] (rows are output channels) is cut into stripes of 16 rows; a stripe is
// contiguous, a run of records along k. A 64-byte line always serves 16 channels, so one line is
// one AVX-512 vector, two AVX2 vectors or one row of an AMX weight tile:
//
//   f32     record 32 k: line k = 16 channels of column k (2048 B)
//   bf16    record 32 k: line j = 16 channels x columns (2j, 2j+1) (1024 B)
//   f16     as bf16, with IEEE halves
//   q4      record C k: line j = 16 channels x 4 bytes; byte b of a channel holds code 8j + b in its
//           low and code 8j + 4 + b in its high nibble (8 C bytes)
//   q5, q6  as q4 with the low four bits; then H = 1 or 2 lines per 32 k of high bits: line i, byte
//           b of a channel holds the codes 4c + b, c = i * 8 / H .. , from the lowest bits up
//   q8      record C k: line j = 16 channels x columns 4j..4j+3 (16 C bytes)
//   q4_min, q5_min  as q4 and q5, with minima behind the scales
//   mxfp4   as q4; a code is the four bits of an element as the format stores it. A stripe begins
//           with a line of its own, Mxfp4Range.
//   wide    as q8, of any number format: codes -127 .. 127 of the int8wide arithmetic. A stripe
//           begins with a line of its own: 16 float32 scales, one per channel
//
// A stored code is the format's plus code_offset(form), so never negative. Scales, behind the codes
// of a record, decide C:
//
//   f16      C = 64: for each group in turn 16 values, one per channel; then the minima likewise
//   factors  C = 256, a super-block: d of 16 channels as f16, with minima also -dmin; then for each
//            group in turn 16 signed bytes; then those of the minima. scale = d * byte, min =
//            -dmin * byte: one rounding each, so exactly what the format's decoder gives
//   f32      C = 64: 16 values, one per channel, that all groups of the record share
//   e8m0     C = 64: for each group in turn 16 bytes e, scale 2^(e - 127), e in 0 (no rows) .. 254
//   channel  C = 64: none here. A record of wide is a weight tile of AMX as it stands
//
// Columns that fill the last record and rows that fill the last stripe are zero bytes (scale 0).
// Stripes start at multiples of 64 bytes; so do records, except those of mxfp4.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "formats/format.h"
#include "formats/row_form.h"

namespace dunlin {

inline constexpr int64_t kStripeRows = 16;

enum class PackedForm : uint8_t { f32, bf16, f16, q4, q4_min, q5, q5_min, q6, q8, mxfp4, wide };
inline constexpr int kPackedForms = 11;
const char* packed_form_name(PackedForm form);

// Bits of a stored code; 0 for forms of values.
constexpr int code_bits(PackedForm form) {
  switch (form) {
    case PackedForm::q4:
    case PackedForm::q4_min:
    case PackedForm::mxfp4:
      return 4;
    case PackedForm::q5:
    case PackedForm::q5_min:
      return 5;
    case PackedForm::q6:
      return 6;
    case PackedForm::q8:
    case PackedForm::wide:
      return 8;
    default:
      return 0;
  }
}
constexpr bool has_min(PackedForm form) {
  return form == PackedForm::q4_min || form == PackedForm::q5_min;
}
// Forms of whole numbers that the int8 arithmetic multiplies, as it does mxfp4; int8wide has wide alone.
constexpr bool is_integer(PackedForm form) {
  return code_bits(form) != 0 && form != PackedForm::mxfp4 && form != PackedForm::wide;
}
// Of mxfp4 what a look-up adds to twice an element, for the int8 arithmetic.
constexpr int32_t code_offset(PackedForm form) {
  if (form == PackedForm::mxfp4) return 12;
  const bool has_offset = form == PackedForm::wide || (is_integer(form) && !has_min(form));
  return has_offset ? 1 << (code_bits(form) - 1) : 0;
}

// Bits of a code in the int8 arithmetic, as it is multiplied without its sign.
constexpr int dot_bits(PackedForm form) {
  return form == PackedForm::mxfp4 ? 5 : code_bits(form);
}

enum class ScaleType : uint8_t { none, f16, factors, f32, e8m0, channel };

struct PackedLayout {
  PackedForm form = PackedForm::f32;
  ScaleType scale = ScaleType::none;
  int group = 0;  // k that share a scale: 32 or 16; 0 without scales, and with one per channel
  int64_t rows = 0;
  int64_t columns = 0;

  int64_t record_columns() const {
    return scale == ScaleType::none ? 32 : scale == ScaleType::factors ? 256 : 64;
  }
  int64_t record_groups() const { return record_columns() / group; }
  int64_t code_bytes() const { return 2 * code_bits(form) * record_columns(); }  // of one record
  // From the start of a record's scales to its minima; with factors, to the factors and their
  // minima.
  int64_t mins_at() const { return 32 * record_groups(); }
  int64_t factors_at() const { return has_min(form) ? 64 : 32; }
  int64_t min_factors_at() const { return factors_at() + kStripeRows * record_groups(); }
  int64_t record_bytes() const;
  int64_t records() const { return (columns + record_columns() - 1) / record_columns(); }
  int64_t stripes() const { return (rows + kStripeRows - 1) / kStripeRows; }
  int64_t records_at() const {  // within a stripe
    return form == PackedForm::mxfp4 || form == PackedForm::wide ? 64 : 0;
  }
  int64_t stripe_bytes() const {
    return (records_at() + records() * record_bytes() + 63) / 64 * 64;
  }
  int64_t bytes() const { return stripes() * stripe_bytes(); }
};

// The smallest and largest scale of a stripe's groups that hold more than zeros (1 and 1 without
// any): what its first line begins with.
struct Mxfp4Range {
  float smallest = 1.0f;
  float largest = 1.0f;
};

// A packed matrix in memory; `data` is 64-byte aligned and holds layout.bytes().
struct PackedMatrix {
  PackedLayout layout;
  const std::byte* data = nullptr;
};

// The layout of a weight. Integer formats keep their codes; F16 and F8 become bf16 when
// `exact_rows` is false (nothing but a bf16 `linear` reads it), f16 and f32 when their rows must
// decode exactly (an embedding). Nothing for a format without a form.
std::optional<PackedLayout> packed_layout(const FormatTraits& format, int64_t rows, int64_t columns,
                                          bool exact_rows);

// Of a weight of any format for the int8wide arithmetic.
PackedLayout wide_layout(int64_t rows, int64_t columns);

// Packs one stripe from `count` (1..16) consecutive rows, each form.bytes() long. A scale beside
// the elements of an integer format serves the whole row. `scratch` holds
// pack_scratch_bytes(layout), 64-byte aligned; `stripe` receives stripe_bytes(). Any thread.
int64_t pack_scratch_bytes(const PackedLayout& layout);
void pack_stripe(const PackedLayout& layout, const RowForm& form, const std::byte* rows,
                 int64_t count, std::byte* scratch, std::byte* stripe) noexcept;

}  // namespace dunlin
