// How steps cut their work over the threads: the sizes that several of them share.
#pragma once

#include <cstddef>
#include <cstdint>

#include "step/step.h"

namespace dunlin::cpu {

// Rows of a prepared block come in whole tiles, and ranges of its rows start at multiples of one.
inline constexpr int64_t kRowTile = 16;

// Weight bytes that a worker takes at a time while they are what a step waits for: long enough for
// the prefetchers, short enough to even out a late worker.
inline constexpr int64_t kPieceBytes = 96 * 1024;
// From so many rows of a matrix on, arithmetic is what a step waits for.
inline constexpr int64_t kManyRows = 16;

// Weight bytes times rows: below, waking the workers costs more than it saves.
inline constexpr int64_t kSerialBytes = 32 * 1024;

// Query rows that attention takes at a time.
inline constexpr int64_t kAttentionRows = 32;

// Place of a class in arrays by RowClass.
constexpr size_t index(RowClass row_class) {
  return static_cast<size_t>(row_class);
}

}  // namespace dunlin::cpu
