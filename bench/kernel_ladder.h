// The versions of two kernels from a plain loop to the one that runs: what bench/kernel_ladder.cpp times
// and docs/kernels explains. All compute the bits of docs/decisions/0002-numerics.md, on one thread, from
// weights in Q4_0: `stored` as a file has them (formats/q4_0.cpp), `packed` as the kernels read them.
// Channels are whole stripes, columns multiples of 256.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/cpu/kernels/packed.h"

namespace dunlin::ladder {

inline constexpr int64_t kStoredBlockBytes = 18;  // of 32 columns: a scale in f16, then codes

// One row in the int8 arithmetic: y[channels].
struct GemvArgs {
  const std::byte* stored;
  PackedMatrix packed;
  const std::byte* activations;  // Int8Tile<1> of each 32 columns (activations.h)
  int64_t channels;
  int64_t columns;
  float* y;
};
using GemvFunction = void(const GemvArgs&) noexcept;

// Rows of a prompt in the bf16 arithmetic: y[rows, channels].
struct GemmArgs {
  const std::byte* stored;
  PackedMatrix packed;
  const float* x;  // rounded to bf16, float_row_stride(columns) apart (activations.h)
  int64_t rows;
  int64_t channels;
  int64_t columns;
  float* y;
  int64_t y_stride;
  std::byte* workspace;  // gemm_workspace_bytes(), 64-byte aligned
};
using GemmFunction = void(const GemmArgs&) noexcept;

// A panel of at most 32 channels over all columns, and as many sums of each row.
inline constexpr int64_t gemm_workspace_bytes(int64_t rows, int64_t columns) {
  return (rows + columns) * int64_t{32 * 4};
}

// ---- over the file's own layout, with AVX2 and FMA ----

struct ScalarSteps {
  GemvFunction* gemv_scalar;   // an element at a time
  GemmFunction* gemm_scalar;   // every weight decoded where it is used
  GemmFunction* gemm_blocked;  // 16 channels of 256 columns decoded once for all rows
};
ScalarSteps scalar_steps();

struct StoredSteps {
  GemvFunction*
      gemv_blocked;  // the codes of a block first, then loops for the compiler to vectorise
  GemvFunction* gemv_vectorised;  // 32 columns of a channel in a register
};
StoredSteps stored_steps();

// ---- over the packed layout, sixteen channels in a vector ----

struct VectorSteps {
  GemvFunction* gemv_packed;      // nothing is read ahead
  GemvFunction* gemv_burst;       // a record ahead at a time
  GemmFunction* gemm_vectorised;  // codes are expanded for each row
  GemmFunction* gemm_panel;       // expanded once for all rows, which go one by one
  GemmFunction* gemm_rows;        // a block of rows and stripes in registers
  // `steps` times peak_chains multiply-adds of 16 lanes, sum * factor + summand, none of which waits for
  // another. `sums`: 16 * peak_chains floats.
  void (*multiply_add_peak)(int64_t steps, float factor, float summand, float* sums) noexcept;
  int64_t peak_chains;
};
VectorSteps avx2_steps();
VectorSteps avx512_steps();

// `steps` times four products of AMX tiles of bf16 (bench/tile_peak.h); `operands`: 4096 bytes.
void tile_peak_bf16(const std::byte* operands, int64_t steps) noexcept;
inline constexpr int64_t kTileStepFlops = int64_t{4} * 2 * 16 * 16 * 32;

}  // namespace dunlin::ladder
