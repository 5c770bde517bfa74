// The AMX tile instructions behind the interface that amx/linear.inl.h, amx/int8.inl.h and
// amx/attention.inl.h are written against; tests put an emulation in its place. Eight tiles of at most 16 rows x 64 bytes:
// 0..3 are sums, 4 and 5 rows of activations, 6 and 7 weights.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "backend/cpu/kernels/amx/tile_configuration.h"
#include "backend/cpu/kernels/target.h"

DUNLIN_TARGET_AMX
namespace dunlin::amx {
namespace {

// The tile loads of g++ 12 name none of the memory they read: without a barrier it drops or moves
// the stores before them.
DUNLIN_INLINE void memory_barrier() {
  asm volatile("" ::: "memory");
}

struct HardwareTiles {
  // _tile_loadconfig of g++ 12 names only 8 of the 64 bytes as read: stores to the others would be
  // dropped, and the 8 of a constant could be folded. So a constant, at an address that the
  // compiler cannot see through.
  static DUNLIN_INLINE void configure(const TileConfiguration* configuration) {
    asm("" : "+r"(configuration));
    _tile_loadconfig(configuration);
  }
  static DUNLIN_INLINE void configure_full() { configure(&kFullTiles); }
  // For weight groups of 32 or 16 columns.
  static DUNLIN_INLINE void configure_int8(int64_t group) {
    configure(group == 32 ? &kInt8Tiles : &kInt8HalfTiles);
  }
  static DUNLIN_INLINE void release() { _tile_release(); }

  static DUNLIN_INLINE void prefetch_l1(const std::byte* p) {
    _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
  }
  static DUNLIN_INLINE void prefetch_l2(const std::byte* p) {
    _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1);
  }

  // Tile numbers are part of the instruction: the macros want literals.
  template <int Tile>
  static DUNLIN_INLINE void zero() {
    if constexpr (Tile == 0) _tile_zero(0);
    if constexpr (Tile == 1) _tile_zero(1);
    if constexpr (Tile == 2) _tile_zero(2);
    if constexpr (Tile == 3) _tile_zero(3);
  }
  // `stride`: bytes from row to row of the tile.
  template <int Tile>
  static DUNLIN_INLINE void load(const std::byte* p, int64_t stride = 64) {
    memory_barrier();
    if constexpr (Tile == 0) _tile_loadd(0, p, stride);
    if constexpr (Tile == 1) _tile_loadd(1, p, stride);
    if constexpr (Tile == 2) _tile_loadd(2, p, stride);
    if constexpr (Tile == 3) _tile_loadd(3, p, stride);
    if constexpr (Tile == 4) _tile_loadd(4, p, stride);
    if constexpr (Tile == 5) _tile_loadd(5, p, stride);
    if constexpr (Tile == 6) _tile_loadd(6, p, stride);
    if constexpr (Tile == 7) _tile_loadd(7, p, stride);
  }
  template <int Tile>
  static DUNLIN_INLINE void store(std::byte* p, int64_t stride = 64) {
    if constexpr (Tile == 0) _tile_stored(0, p, stride);
    if constexpr (Tile == 1) _tile_stored(1, p, stride);
    if constexpr (Tile == 2) _tile_stored(2, p, stride);
    if constexpr (Tile == 3) _tile_stored(3, p, stride);
    memory_barrier();
  }
  // Sum tile 2 * Row + Stripe += row tile 4 + Row times weight tile 6 + Stripe.
  template <int Row, int Stripe>
  static DUNLIN_INLINE void dot_bf16() {
    if constexpr (Row == 0 && Stripe == 0) _tile_dpbf16ps(0, 4, 6);
    if constexpr (Row == 0 && Stripe == 1) _tile_dpbf16ps(1, 4, 7);
    if constexpr (Row == 1 && Stripe == 0) _tile_dpbf16ps(2, 5, 6);
    if constexpr (Row == 1 && Stripe == 1) _tile_dpbf16ps(3, 5, 7);
  }
  // The same of signed codes and of weights' codes as they are stored, unsigned.
  template <int Row, int Stripe>
  static DUNLIN_INLINE void dot_bytes() {
    if constexpr (Row == 0 && Stripe == 0) _tile_dpbsud(0, 4, 6);
    if constexpr (Row == 0 && Stripe == 1) _tile_dpbsud(1, 4, 7);
    if constexpr (Row == 1 && Stripe == 0) _tile_dpbsud(2, 5, 6);
    if constexpr (Row == 1 && Stripe == 1) _tile_dpbsud(3, 5, 7);
  }
  // Sum tile Sum += row tile 4 + Sum % 2 times weight tile 6 + Sum % 2, signed codes.
  template <int Sum>
  static DUNLIN_INLINE void dot_int8() {
    if constexpr (Sum == 0) _tile_dpbssd(0, 4, 6);
    if constexpr (Sum == 1) _tile_dpbssd(1, 5, 7);
    if constexpr (Sum == 2) _tile_dpbssd(2, 4, 6);
    if constexpr (Sum == 3) _tile_dpbssd(3, 5, 7);
  }
};

}  // namespace
}  // namespace dunlin::amx
DUNLIN_TARGET_END
