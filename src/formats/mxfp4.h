// MXFP4: 32 elements that share a power of two, value = v * 2^(e - 127) (Open Compute Project,
// Microscaling Formats v1.0: E2M1 elements, E8M0 scale). The four bits of an element are a sign and
// an index into the magnitudes 0, 0.5, 1, 1.5, 2, 3, 4, 6; minus zero decodes to 0. e = 255, which
// the standard reserves for NaN, is 2^128 here, as it is in ggml.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dunlin {

inline constexpr float kFp4Values[16] = {0.0f, 0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                         0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};

// As integers (decode_groups) a block has one scale, 2^(e - 128), and codes of twice its elements: whole numbers
// from -12 to 12. A scale below 2^-126 is 0; with e = 255 it is 2^126, and codes are doubled to at most 12. A block of
// zeros has the scale 0.5: no infinity comes of it.
inline constexpr int8_t kTwiceFp4[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// The elements of whole blocks as stored: four bits each, and an exponent per 32.
void unpack_mxfp4(const std::byte* blocks, int64_t elements, uint8_t* codes, uint8_t* exponents);

// The sixteen bytes of a block's codes in the order of other files, and back: there byte i holds
// elements 2 i, in its low half, and 2 i + 1. Eight bytes at a time.
inline constexpr int64_t kMxfp4CodeBytes = 16;
inline constexpr int64_t kMxfp4BlockBytes = 1 + kMxfp4CodeBytes;  // with the exponent before them
void neighbours_to_block(const std::byte* neighbours, std::byte* codes);
void block_to_neighbours(const std::byte* codes, std::byte* neighbours);

}  // namespace dunlin
