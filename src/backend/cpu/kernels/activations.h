// Layouts of prepared activations, shared by the instruction sets.
//
//   floats: row-major float32 (already rounded for the bf16 arithmetic), K padded to 32 with zeros,
//   the row stride an odd number of 64-byte lines so that neighbouring rows do not fall into one
//   cache set. The line behind a row holds the smallest magnitude of a value that is not zero
//   (1 without any) and the largest (1).
//   int8:   per row the codes[K padded to 64], scales[K / 32], sums of 32 codes [K / 32], sums of
//   16 codes [K / 16].
#pragma once

#include <cstdint>

namespace dunlin {

inline constexpr int64_t padded_columns(int64_t columns) {
  return (columns + 31) / 32 * 32;
}

inline constexpr int64_t float_row_stride(int64_t columns) {
  const int64_t lines = padded_columns(columns) / 16;
  return (lines + 1) / 2 * 32 + 16;
}

inline constexpr int64_t kRowSmallest = 0;  // in the line behind a row
inline constexpr int64_t kRowLargest = 1;

struct Int8RowLayout {
  explicit constexpr Int8RowLayout(int64_t columns)
      : groups(columns / 32),
        scales((columns + 63) / 64 * 64),
        sums(scales + 4 * groups),
        half_sums(sums + 4 * groups),
        row_bytes((half_sums + 8 * groups + 63) / 64 * 64) {}

  int64_t groups;
  int64_t scales;  // byte offsets from the start of a row
  int64_t sums;
  int64_t half_sums;
  int64_t row_bytes;
};

}  // namespace dunlin
