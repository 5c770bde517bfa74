// Layouts of prepared activations, shared by the instruction sets.
//
//   floats: row-major float32 (already rounded for the bf16 arithmetic), K padded to 32 with zeros,
//   the row stride an odd number of 64-byte lines so that neighbouring rows do not fall into one
//   cache set. The line behind a row holds the smallest magnitude of a value that is not zero
//   (1 without any) and the largest (1).
//   int8:   [rows / R][K / 32] of Int8Tile<R>; R is 1 for a single row, else kInt8TileRows (16 on AMX
//   from 16 rows on). Rows of the last tile beyond the last row are not used.
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

// What the int8 arithmetic reads of Rows rows and 32 columns. Sums are whole numbers of at most four
// digits.
template <int Rows>
struct Int8Tile {
  int8_t codes[Rows][32];
  float scales[Rows];
  float sums[Rows];          // of 32 codes
  float half_sums[2][Rows];  // of the first and the last 16
};
inline constexpr int kInt8TileRows = 8;
inline constexpr int64_t kInt8BlockBytes = sizeof(Int8Tile<1>);  // of one row
static_assert(sizeof(Int8Tile<kInt8TileRows>) == kInt8TileRows * kInt8BlockBytes);

}  // namespace dunlin
