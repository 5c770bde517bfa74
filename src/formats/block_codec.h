// The loops that every block format shares: a format supplies how one block unpacks into codes,
// scales and minimums, and decode is value = scale * code (+ min) in float32, so decode and
// decode_groups cannot disagree.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/float16.h"

namespace dunlin {

struct UnpackedBlock {
  int8_t* codes;  // block_elements
  float* scales;  // block_elements / group
  float* mins;    // the same count; null for a format without minimums
};

inline float load_float16(const uint8_t (&bytes)[2]) {
  return to_float(float16{static_cast<uint16_t>(bytes[0] | bytes[1] << 8)});
}

inline void store_float16(float value, uint8_t (&bytes)[2]) {
  const uint16_t bits = to_float16(value).bits;
  bytes[0] = static_cast<uint8_t>(bits);
  bytes[1] = static_cast<uint8_t>(bits >> 8);
}

// A Block is the stored struct, of bytes only, with kElements, kGroup, kHasMin and
// void unpack(UnpackedBlock) const.
template <typename Block>
Block load_block(const std::byte* blocks, int64_t index) {
  static_assert(alignof(Block) == 1);
  Block block;
  std::memcpy(&block, blocks + index * static_cast<int64_t>(sizeof(Block)), sizeof(Block));
  return block;
}

template <typename Block>
void decode_blocks(const std::byte* blocks, int64_t elements, float* values) {
  constexpr int64_t kGroups = Block::kElements / Block::kGroup;
  std::array<int8_t, Block::kElements> codes;
  std::array<float, kGroups> scales;
  std::array<float, kGroups> mins;
  for (int64_t index = 0; index < elements / Block::kElements; ++index) {
    load_block<Block>(blocks, index).unpack({codes.data(), scales.data(), mins.data()});
    float* out = values + index * Block::kElements;
    for (int64_t group = 0; group < kGroups; ++group) {
      for (int64_t k = group * Block::kGroup; k < (group + 1) * Block::kGroup; ++k) {
        const float product = scales[group] * static_cast<float>(codes[k]);
        out[k] = Block::kHasMin ? product + mins[group] : product;
      }
    }
  }
}

template <typename Block>
void decode_block_groups(const std::byte* blocks, int64_t elements, int8_t* codes, float* scales,
                         float* mins) {
  constexpr int64_t kGroups = Block::kElements / Block::kGroup;
  for (int64_t index = 0; index < elements / Block::kElements; ++index) {
    load_block<Block>(blocks, index)
        .unpack({codes + index * Block::kElements, scales + index * kGroups,
                 Block::kHasMin ? mins + index * kGroups : nullptr});
  }
}

// Calls encode(const float* values, Block& block) for every block.
template <typename Block, typename Encode>
void encode_blocks(const float* values, int64_t elements, std::byte* blocks, Encode encode) {
  for (int64_t index = 0; index < elements / Block::kElements; ++index) {
    Block block{};
    encode(values + index * Block::kElements, block);
    std::memcpy(blocks + index * static_cast<int64_t>(sizeof(Block)), &block, sizeof(Block));
  }
}

// 1 / scale, and 0 where that is not a finite number: a scale of 0, or one so small that it is
// stored as 0 anyway.
inline float reciprocal_or_zero(float scale) {
  const float inverse = 1.0f / scale;
  return inverse - inverse == 0.0f ? inverse : 0.0f;
}

// Truncates to 0..high; NaN gives 0.
inline int truncate_code(float value, int high) {
  if (!(value > 0.0f)) return 0;
  return value >= static_cast<float>(high) ? high : static_cast<int>(value);
}

}  // namespace dunlin
