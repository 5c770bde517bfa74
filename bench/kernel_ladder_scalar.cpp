// The first steps of both ladders: an element at a time. Compiled without the compiler's own vectors
// (bench/CMakeLists.txt), with the processor's multiply-add.
#include <immintrin.h>

#include "backend/cpu/kernels/activations.h"
#include "backend/cpu/kernels/target.h"
#include "kernel_ladder.h"

DUNLIN_TARGET_AVX2
namespace dunlin::ladder {
namespace {

#include "kernel_ladder_stored.inl.h"

void gemv_scalar(const GemvArgs& args) noexcept {
  const auto* const tiles = reinterpret_cast<const Int8Tile<1>*>(args.activations);
  const int64_t blocks = args.columns / 32;
  for (int64_t channel = 0; channel < args.channels; ++channel) {
    float sum = 0;
    for (int64_t b = 0; b < blocks; ++b) {
      const uint8_t* const block = stored_block(args.stored, blocks, channel, b);
      int32_t dot = 0;
      for (int k = 0; k < 32; ++k) dot += stored_code(block, k) * tiles[b].codes[0][k];
      const float scale = stored_scale(block) * tiles[b].scales[0];
      sum = __builtin_fmaf(static_cast<float>(dot), scale, sum);
    }
    args.y[channel] = sum;
  }
}

void gemm_scalar(const GemmArgs& args) noexcept {
  const int64_t blocks = args.columns / 32;
  const int64_t stride = float_row_stride(args.columns);
  for (int64_t row = 0; row < args.rows; ++row) {
    for (int64_t channel = 0; channel < args.channels; ++channel) {
      float sum = 0;
      for (int64_t b = 0; b < blocks; ++b) {
        const uint8_t* const block = stored_block(args.stored, blocks, channel, b);
        const float* const x = args.x + row * stride + 32 * b;
        float even = 0;
        float odd = 0;
        for (int j = 0; j < 16; ++j) {
          even = __builtin_fmaf(x[2 * j], stored_weight(block, 2 * j), even);
          odd = __builtin_fmaf(x[2 * j + 1], stored_weight(block, 2 * j + 1), odd);
        }
        sum = sum + (even + odd);
      }
      args.y[row * args.y_stride + channel] = sum;
    }
  }
}

void gemm_blocked(const GemmArgs& args) noexcept {
  constexpr int64_t kColumns = 256;
  constexpr int64_t kChannels = 16;
  const int64_t blocks = args.columns / 32;
  const int64_t stride = float_row_stride(args.columns);
  float* const panel = reinterpret_cast<float*>(args.workspace);  // [kChannels][kColumns]
  float* const sums = panel + kChannels * kColumns;               // [rows][kChannels]
  for (int64_t first = 0; first < args.channels; first += kChannels) {
    for (int64_t i = 0; i < args.rows * kChannels; ++i) sums[i] = 0;
    for (int64_t column = 0; column < args.columns; column += kColumns) {
      for (int64_t i = 0; i < kChannels * kColumns; ++i) {
        const int64_t k = column + i % kColumns;
        const uint8_t* const block =
            stored_block(args.stored, blocks, first + i / kColumns, k / 32);
        panel[i] = stored_weight(block, static_cast<int>(k % 32));
      }
      for (int64_t row = 0; row < args.rows; ++row) {
        const float* const x = args.x + row * stride + column;
        for (int64_t i = 0; i < kChannels; ++i) {
          float* const sum = sums + row * kChannels + i;
          for (int64_t k = 0; k < kColumns; k += 32) {
            const float* const weight = panel + i * kColumns + k;
            float even = 0;
            float odd = 0;
            for (int64_t j = 0; j < 32; j += 2) {
              even = __builtin_fmaf(x[k + j], weight[j], even);
              odd = __builtin_fmaf(x[k + j + 1], weight[j + 1], odd);
            }
            *sum = *sum + (even + odd);
          }
        }
      }
    }
    for (int64_t row = 0; row < args.rows; ++row) {
      for (int64_t i = 0; i < kChannels; ++i)
        args.y[row * args.y_stride + first + i] = sums[row * kChannels + i];
    }
  }
}

}  // namespace
}  // namespace dunlin::ladder
DUNLIN_TARGET_END

namespace dunlin::ladder {

ScalarSteps scalar_steps() {
  return {gemv_scalar, gemm_scalar, gemm_blocked};
}

}  // namespace dunlin::ladder
