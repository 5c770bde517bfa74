// The 64 bytes that LDTILECFG reads: rows and bytes of a row of each of the eight tiles (Intel 64 and
// IA-32 Architectures Software Developer's Manual, LDTILECFG).
#pragma once

#include <cstdint>

namespace dunlin::amx {

struct alignas(64) TileConfiguration {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfiguration) == 64);

// Rows of 32 bf16 values, or of 64 codes.
inline constexpr TileConfiguration kFullTiles;

// Rows of `group` codes, and weights with four codes of a channel in a row's 4 bytes.
constexpr TileConfiguration int8_tiles(int group) {
  TileConfiguration tiles;
  for (int tile = 4; tile < 6; ++tile) tiles.row_bytes[tile] = static_cast<uint16_t>(group);
  for (int tile = 6; tile < 8; ++tile) tiles.rows[tile] = static_cast<uint8_t>(group / 4);
  return tiles;
}
inline constexpr TileConfiguration kInt8Tiles = int8_tiles(32);
inline constexpr TileConfiguration kInt8HalfTiles = int8_tiles(16);

}  // namespace dunlin::amx
