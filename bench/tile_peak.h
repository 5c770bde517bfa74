// The peak of AMX tiles: products of tiles that stay in their registers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/cpu/kernels/amx/tiles.h"
#include "backend/cpu/kernels/target.h"

DUNLIN_TARGET_AMX
namespace dunlin::amx {
namespace {

// `steps` times four products of tiles that stay in their registers. All tiles are full, as those
// of bf16 are: rows of 64 bytes are 64 codes of int8.
template <bool Int8>
void tile_products(const std::byte* operands, int64_t steps) {
  HardwareTiles::configure_full();
  HardwareTiles::zero<0>();
  HardwareTiles::zero<1>();
  HardwareTiles::zero<2>();
  HardwareTiles::zero<3>();
  HardwareTiles::load<4>(operands);
  HardwareTiles::load<5>(operands + 1024);
  HardwareTiles::load<6>(operands + 2048);
  HardwareTiles::load<7>(operands + 3072);
  for (int64_t step = 0; step < steps; ++step) {
    if constexpr (Int8) {
      HardwareTiles::dot_int8<0>();
      HardwareTiles::dot_int8<1>();
      HardwareTiles::dot_int8<2>();
      HardwareTiles::dot_int8<3>();
    } else {
      HardwareTiles::dot_bf16<0, 0>();
      HardwareTiles::dot_bf16<0, 1>();
      HardwareTiles::dot_bf16<1, 0>();
      HardwareTiles::dot_bf16<1, 1>();
    }
  }
  HardwareTiles::release();
}

}  // namespace
}  // namespace dunlin::amx
DUNLIN_TARGET_END
