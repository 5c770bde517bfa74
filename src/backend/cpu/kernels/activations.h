// Layouts of prepared activations, shared by the instruction sets.
//
//   floats: row-major float32 (already rounded for the bf16 arithmetic), K padded to 32 with zeros,
//   the row stride an odd number of 64-byte lines so that neighbouring rows do not fall into one
//   cache set. The line behind a row holds the smallest magnitude of a value that is not zero
//   (1 without any) and the largest (1).
//   int8:   [rows / R][K / 32] of Int8Tile<R>; R is 1 for a single row, else kInt8TileRows (16 on AMX
//   from 16 rows on). Rows of the last tile beyond the last row are not used.
//   int8wide: a WideRow for every row, in whole tiles of 16, then [rows / R][K / 64] of WideTile<R>
//   with R as for int8; K is padded to 64 with codes 0.
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

// What the int8wide arithmetic has of a whole row.
struct WideRow {
  float scale;
  int32_t offset;  // 128 times the sum of the codes, modulo 2^32: what stored codes add to a sum
};

// Codes of Rows rows and 64 columns; of 16 rows a tile of AMX.
template <int Rows>
struct WideTile {
  int8_t codes[Rows][64];
};

inline constexpr int64_t wide_blocks(int64_t columns) {
  return (columns + 63) / 64;
}
// From the start of the activations to the tiles.
inline constexpr int64_t wide_tiles_at(int64_t rows) {
  return (rows + 15) / 16 * 16 * static_cast<int64_t>(sizeof(WideRow));
}
static_assert(wide_tiles_at(1) % 64 == 0);

}  // namespace dunlin
