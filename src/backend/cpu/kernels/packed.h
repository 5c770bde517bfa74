// Packed weights: the few layouts every CPU kernel reads, made once at load from any number format.
//
// A matrix [rows, columns] (rows are output channels) is cut into stripes of 16 rows; a stripe is
// contiguous, a run of records along k. A 64-byte line always serves 16 channels, so one line is
// one AVX-512 vector, two AVX2 vectors or one row of an AMX weight tile:
//
//   f32     record 32 k: line k = 16 channels of column k (2048 B) bf16    record 32 k: line j = 16
//   channels x columns (2j, 2j+1)                                       (1024 B) f16     as bf16,
//   with IEEE halves q4      record 64 k: line j = 16 channels x 4 bytes; byte b of a channel holds
//   code[8j + b] + 8 in its low and
//           code[8j + 4 + b] + 8 in its high nibble; then the scales                          (512
//           B + scales)
//   q4_min  as q4 with the codes as they are (0..15); then scales, then minima
//   q8      record 64 k: line j = 16 channels x columns 4j..4j+3, each code + 128 as a byte; then
//   scales (1024 B + scales)
//
// Scales (and minima) of a record: for each group of the record in turn 16 values, one per channel,
// f16 where that is what the format stores (exact), else f32. Columns that fill the last record and
// rows that fill the last stripe are zero bytes (scale 0). Stripes start at multiples of 64
// bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "formats/format.h"

namespace dunlin {

inline constexpr int64_t kStripeRows = 16;

enum class PackedForm : uint8_t { f32, bf16, f16, q4, q4_min, q8 };
inline constexpr int kPackedForms = 6;
const char* packed_form_name(PackedForm form);

enum class ScaleType : uint8_t { none, f16, f32 };

struct PackedLayout {
  PackedForm form = PackedForm::f32;
  ScaleType scale = ScaleType::none;
  int group = 0;  // k that share a scale: 32 or 16; 0 for floating-point forms
  int64_t rows = 0;
  int64_t columns = 0;

  int64_t record_columns() const { return group == 0 ? 32 : 64; }
  int64_t scale_bytes() const;   // scales of one record, without minima
  int64_t record_bytes() const;  // a multiple of 64
  int64_t records() const { return (columns + record_columns() - 1) / record_columns(); }
  int64_t stripes() const { return (rows + kStripeRows - 1) / kStripeRows; }
  int64_t stripe_bytes() const { return records() * record_bytes(); }
  int64_t bytes() const { return stripes() * stripe_bytes(); }
};

// A packed matrix in memory; `data` is 64-byte aligned and holds layout.bytes().
struct PackedMatrix {
  PackedLayout layout;
  const std::byte* data = nullptr;
};

// The layout of a weight. Integer formats keep their codes; F16 becomes bf16 when `exact_rows` is
// false (nothing but a bf16 `linear` reads it) and f16 when its rows must decode exactly (an
// embedding). Nothing for a format without a form.
std::optional<PackedLayout> packed_layout(const FormatTraits& format, int64_t rows, int64_t columns,
                                          bool exact_rows);

// Packs one stripe from `count` (1..16) consecutive rows of `format`, each row_bytes(format,
// columns) long. `scratch` holds pack_scratch_bytes(layout), 64-byte aligned; `stripe` receives
// stripe_bytes(). Any thread.
int64_t pack_scratch_bytes(const PackedLayout& layout);
void pack_stripe(const PackedLayout& layout, const FormatTraits& format, const std::byte* rows,
                 int64_t count, std::byte* scratch, std::byte* stripe) noexcept;

}  // namespace dunlin
