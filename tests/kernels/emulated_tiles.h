// The AMX tile instructions in plain C++, in the place of backend/cpu/kernels/amx/tiles.h, so that
// the logic of the kernels is tested bit for bit on any processor.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/cpu/kernels/amx/tile_configuration.h"

namespace dunlin::amx {
namespace {

// Tile instructions as Intel documents them (architecture instruction set extensions reference,
// TDPBF16PS, TDPBSSD and TDPBSUD): of bf16, even and odd columns are two chains of fused
// multiply-adds from zero, their sum is added to the destination, and denormals are zero; of bytes,
// exact sums of four products.
struct EmulatedTiles {
  alignas(64) static inline std::byte tiles[8][16][64];
  static inline int rows[8];
  static inline int bytes[8];  // of a row; 0: not configured

  // An undefined instruction on hardware.
  static void require(bool defined) {
    if (!defined) __builtin_trap();
  }
  static bool configured() { return bytes[0] != 0; }

  static void configure(const TileConfiguration& configuration) {
    const auto* raw = reinterpret_cast<const uint8_t*>(&configuration);
    require(raw[0] == 1 && raw[1] == 0);
    for (int i = 2; i < 16; ++i) require(raw[i] == 0);
    for (int i = 32; i < 48; ++i) require(raw[i] == 0);
    for (int i = 56; i < 64; ++i) require(raw[i] == 0);
    for (int tile = 0; tile < 8; ++tile) {
      bytes[tile] = raw[16 + 2 * tile] | raw[17 + 2 * tile] << 8;
      rows[tile] = raw[48 + tile];
      require(rows[tile] >= 1 && rows[tile] <= 16 && bytes[tile] >= 1 && bytes[tile] <= 64);
    }
    __builtin_memset(tiles, 0xff, sizeof(tiles));
  }
  static void configure_full() { configure(kFullTiles); }
  static void configure_int8(int64_t group) {
    configure(group == 32 ? kInt8Tiles : kInt8HalfTiles);
  }
  static void release() {
    __builtin_memset(bytes, 0, sizeof(bytes));
    __builtin_memset(rows, 0, sizeof(rows));
  }
  static void prefetch_l1(const std::byte*) {}
  static void prefetch_l2(const std::byte*) {}
  static void require_product(int sum, int a, int b) {
    require(configured());
    require(rows[sum] == rows[a] && bytes[sum] == bytes[b] && bytes[a] / 4 == rows[b]);
  }

  template <int Tile>
  static void zero() {
    require(configured());
    __builtin_memset(tiles[Tile], 0, sizeof(tiles[Tile]));
  }
  template <int Tile>
  static void load(const std::byte* p, int64_t stride = 64) {
    require(configured());
    for (int row = 0; row < rows[Tile]; ++row) {
      __builtin_memcpy(tiles[Tile][row], p + row * stride, static_cast<size_t>(bytes[Tile]));
    }
  }
  template <int Tile>
  static void store(std::byte* p, int64_t stride = 64) {
    require(configured());
    for (int row = 0; row < rows[Tile]; ++row) {
      __builtin_memcpy(p + row * stride, tiles[Tile][row], static_cast<size_t>(bytes[Tile]));
    }
  }
  template <typename T>
  static T& element(int tile, int row, int column) {
    return reinterpret_cast<T*>(tiles[tile][row])[column];
  }
  static float widen(uint16_t bits) {
    const uint32_t word = static_cast<uint32_t>(bits) << 16;
    float value;
    __builtin_memcpy(&value, &word, 4);
    return value;
  }
  static float chain(int row_tile, int m, int weight_tile, int n, int parity) {
    float sum = 0.0f;
    for (int k = 0; k < 16; ++k) {
      const float x = widen(element<uint16_t>(row_tile, m, 2 * k + parity));
      sum = __builtin_fmaf(x, widen(element<uint16_t>(weight_tile, k, 2 * n + parity)), sum);
    }
    return sum;
  }
  template <int Row, int Stripe>
  static void dot_bf16() {
    require_product(2 * Row + Stripe, 4 + Row, 6 + Stripe);
    for (int m = 0; m < 16; ++m) {
      for (int n = 0; n < 16; ++n) {
        const float even = chain(4 + Row, m, 6 + Stripe, n, 0);
        const float odd = chain(4 + Row, m, 6 + Stripe, n, 1);
        float& sum = element<float>(2 * Row + Stripe, m, n);
        sum = sum + (even + odd);
      }
    }
  }
  template <int Row, int Stripe>
  static void dot_bytes() {
    require_product(2 * Row + Stripe, 4 + Row, 6 + Stripe);
    for (int m = 0; m < 16; ++m) {
      for (int n = 0; n < 16; ++n) {
        int32_t& sum = element<int32_t>(2 * Row + Stripe, m, n);
        for (int k = 0; k < 64; ++k)
          sum +=
              element<int8_t>(4 + Row, m, k) * element<uint8_t>(6 + Stripe, k / 4, 4 * n + k % 4);
      }
    }
  }
  template <int Sum>
  static void dot_int8() {
    constexpr int kRows = 4 + Sum % 2;
    constexpr int kWeights = 6 + Sum % 2;
    require_product(Sum, kRows, kWeights);
    for (int m = 0; m < 16; ++m) {
      for (int n = 0; n < 16; ++n) {
        int32_t& sum = element<int32_t>(Sum, m, n);
        for (int k = 0; k < bytes[kRows]; ++k) {
          sum += element<int8_t>(kRows, m, k) * element<int8_t>(kWeights, k / 4, 4 * n + k % 4);
        }
      }
    }
  }
};

}  // namespace
}  // namespace dunlin::amx
