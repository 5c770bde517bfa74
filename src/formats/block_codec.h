// The loops that every block format shares: a format supplies how one block unpacks into codes,
// scales and minimums, and decode is value = scale * code (+ min) in float32, so decode and
// decode_groups cannot disagree.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/float16.h"
#include "formats/format.h"

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

// ---- super-blocks: kElements of 256, whose groups have small integer factors ----

// Scale of group g: d * factors[g]; its minimum: -(dmin * min_factors[g]).
struct BlockFactors {
  float d = 0.0f;
  float dmin = 0.0f;
  int8_t factors[16] = {};
  int8_t min_factors[16] = {};
};

// unpack() of a super-block, which supplies BlockFactors load_factors() const and
// void unpack_codes(int8_t*) const.
template <typename Block>
void unpack_super_block(const Block& block, UnpackedBlock out) {
  const BlockFactors stored = block.load_factors();
  for (int64_t group = 0; group < Block::kElements / Block::kGroup; ++group) {
    out.scales[group] = stored.d * static_cast<float>(stored.factors[group]);
    if (Block::kHasMin) {
      out.mins[group] = -(stored.dmin * static_cast<float>(stored.min_factors[group]));
    }
  }
  block.unpack_codes(out.codes);
}

template <typename Block>
void decode_block_factors(const std::byte* blocks, int64_t elements, FactorArrays out) {
  constexpr int64_t kGroups = Block::kElements / Block::kGroup;
  for (int64_t index = 0; index < elements / Block::kElements; ++index) {
    const BlockFactors stored = load_block<Block>(blocks, index).load_factors();
    out.d[index] = stored.d;
    std::memcpy(out.factors + index * kGroups, stored.factors, kGroups);
    if (!Block::kHasMin) continue;
    out.dmin[index] = stored.dmin;
    std::memcpy(out.min_factors + index * kGroups, stored.min_factors, kGroups);
  }
}

// ---- encoding ----

// Calls encode(const float* values, const float* importance, Block& block) for every block;
// `importance` is null throughout or nowhere.
template <typename Block, typename Encode>
void encode_blocks(const float* values, int64_t elements, const float* importance,
                   std::byte* blocks, Encode encode) {
  for (int64_t index = 0; index < elements / Block::kElements; ++index) {
    Block block{};
    const int64_t first = index * Block::kElements;
    encode(values + first, importance == nullptr ? nullptr : importance + first, block);
    std::memcpy(blocks + index * static_cast<int64_t>(sizeof(Block)), &block, sizeof(Block));
  }
}

}  // namespace dunlin
