// MXFP4 as ggml stores it (ggml-common.h, block_mxfp4): a byte of exponent, then sixteen bytes, of
// which byte i holds element i in its low half and element i + 16 in its high half.
#include "formats/mxfp4.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "formats/block_codec.h"
#include "formats/codecs.h"
#include "formats/weighted_fit.h"

namespace dunlin {
namespace {

struct Mxfp4Block {
  static constexpr int64_t kElements = 32;
  uint8_t exponent;
  uint8_t nibbles[16];

  int code(int i) const { return nibbles[i % 16] >> (i / 16 * 4) & 0x0f; }
};
static_assert(sizeof(Mxfp4Block) == 17);

constexpr uint64_t kLowHalves = 0x0f0f0f0f0f0f0f0f;

uint64_t load_word(const std::byte* from) {
  uint64_t word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

// The low four bytes of a word as its bytes 0, 2, 4 and 6; the others are zero.
uint64_t spread(uint64_t word) {
  word &= 0x00000000ffffffff;
  word = (word | (word << 16)) & 0x0000ffff0000ffff;
  return (word | (word << 8)) & 0x00ff00ff00ff00ff;
}

// The inverse.
uint64_t gather(uint64_t word) {
  word &= 0x00ff00ff00ff00ff;
  word = (word | (word >> 8)) & 0x0000ffff0000ffff;
  return (word | (word >> 16)) & 0x00000000ffffffff;
}

// v * 2^(e - 127), exact where float32 has it, denormals included; written with integers so that
// flush-to-zero modes of the processor cannot touch it.
float scaled(float v, int e) {
  const uint32_t bits = std::bit_cast<uint32_t>(v);
  const uint32_t sign = bits & 0x80000000u;
  if ((bits & 0x7fffffffu) == 0) return v;
  const int exponent = static_cast<int>(bits >> 23 & 0xffu) + e - 127;
  if (exponent >= 255) return std::bit_cast<float>(sign | 0x7f800000u);
  const uint32_t fraction = bits & 0x7fffffu;
  if (exponent >= 1) {
    return std::bit_cast<float>(sign | static_cast<uint32_t>(exponent) << 23 | fraction);
  }
  return std::bit_cast<float>(sign | (fraction | 0x800000u) >> (1 - exponent));
}

// The code nearest to v, ties to the even code.
int nearest_fp4(float v) {
  const float magnitude = std::abs(v);
  int index = 7;
  if (magnitude <= 1.75f) {  // steps of a half
    index = static_cast<int>(nearest_code(2.0f * magnitude, 0.0f, 4.0f));
  } else if (magnitude <= 5.0f) {  // 2, 3, 4
    index = static_cast<int>(nearest_code(magnitude, 2.0f, 4.0f)) + 2;
  }
  return v < 0.0f && index > 0 ? index | 8 : index;
}

// The exponent of the largest magnitude, so that it lies in [4, 8) and may be cut to 6, against the
// ones above and below it.
void encode_block(const float* values, const float* importance, Mxfp4Block& block) {
  const Samples<32> samples = load_samples<32>(values, importance);
  const int unit_exponent = static_cast<int>(std::bit_cast<uint32_t>(samples.unit) >> 23);
  float least = std::numeric_limits<float>::infinity();
  for (int e = unit_exponent - 3; e <= unit_exponent - 1; ++e) {
    if (e < 1 || e > 254) continue;
    const float inverse = scaled(samples.unit, 254 - e);  // unit * 2^(127 - e)
    Mxfp4Block candidate{static_cast<uint8_t>(e), {}};
    float error = 0.0f;
    for (int i = 0; i < 32; ++i) {
      const float wanted = samples.x[i] * inverse;
      const int code = nearest_fp4(wanted);
      const float difference = (wanted - kFp4Values[code]) / inverse;
      error += samples.w[i] * difference * difference;
      uint8_t& byte = candidate.nibbles[i % 16];
      byte = static_cast<uint8_t>(byte | code << (i / 16 * 4));
    }
    if (error < least) {
      least = error;
      block = candidate;
    }
  }
}

}  // namespace

void decode_groups_mxfp4(const std::byte* blocks, int64_t elements, int8_t* codes, float* scales,
                         float* /*mins*/) {
  for (int64_t at = 0; at < elements; at += Mxfp4Block::kElements, blocks += sizeof(Mxfp4Block)) {
    Mxfp4Block block;
    std::memcpy(&block, blocks, sizeof block);
    const bool doubled = block.exponent == 255;
    bool zeros = true;
    for (int i = 0; i < Mxfp4Block::kElements; ++i) {
      const int code = kTwiceFp4[block.code(i)];
      zeros = zeros && code == 0;
      *codes++ = static_cast<int8_t>(doubled ? std::clamp(2 * code, -12, 12) : code);
    }
    const uint32_t exponent = zeros ? 127u : std::clamp<uint32_t>(block.exponent, 1, 254);
    *scales++ = std::bit_cast<float>((exponent - 1) << 23);
  }
}

void decode_mxfp4(const std::byte* blocks, int64_t elements, float* values) {
  for (int64_t index = 0; index < elements / 32; ++index) {
    const auto block = load_block<Mxfp4Block>(blocks, index);
    for (int i = 0; i < 32; ++i) {
      values[index * 32 + i] = scaled(kFp4Values[block.code(i)], block.exponent);
    }
  }
}

void unpack_mxfp4(const std::byte* blocks, int64_t elements, uint8_t* codes, uint8_t* exponents) {
  for (int64_t index = 0; index < elements / 32; ++index) {
    const auto block = load_block<Mxfp4Block>(blocks, index);
    exponents[index] = block.exponent;
    for (int i = 0; i < 32; ++i) codes[index * 32 + i] = static_cast<uint8_t>(block.code(i));
  }
}

// Byte m of the first eight has codes 2 m and 2 m + 1, byte m of the others 2 m + 16 and 2 m + 17; byte
// 2 m of a block has the first of each, byte 2 m + 1 the second.
void neighbours_to_block(const std::byte* neighbours, std::byte* codes) {
  const uint64_t first = load_word(neighbours);
  const uint64_t second = load_word(neighbours + 8);
  const uint64_t even = (first & kLowHalves) | ((second & kLowHalves) << 4);
  const uint64_t odd = ((first >> 4) & kLowHalves) | (second & ~kLowHalves);
  const uint64_t words[2] = {spread(even) | (spread(odd) << 8),
                             spread(even >> 32) | (spread(odd >> 32) << 8)};
  std::memcpy(codes, words, sizeof words);
}

void block_to_neighbours(const std::byte* codes, std::byte* neighbours) {
  const uint64_t first = load_word(codes);
  const uint64_t second = load_word(codes + 8);
  const uint64_t even = gather(first) | (gather(second) << 32);
  const uint64_t odd = gather(first >> 8) | (gather(second >> 8) << 32);
  const uint64_t words[2] = {(even & kLowHalves) | ((odd & kLowHalves) << 4),
                             ((even >> 4) & kLowHalves) | (odd & ~kLowHalves)};
  std::memcpy(neighbours, words, sizeof words);
}

void encode_mxfp4(const float* values, int64_t elements, const float* importance,
                  std::byte* blocks) {
  encode_blocks<Mxfp4Block>(values, elements, importance, blocks, encode_block);
}

}  // namespace dunlin
