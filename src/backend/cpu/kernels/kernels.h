// The table of CPU kernels: one row per instruction set, every row with the same bits
// (docs/decisions/0002-numerics.md).
//
// All functions are noexcept, allocate nothing and take raw pointers and sizes; callers split the
// work over threads and hold flush-to-zero. Pointers named workspace, activations and packed data
// are 64-byte aligned; plain float arrays need only their natural alignment.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/cpu/kernels/attention_kernels.h"
#include "backend/cpu/kernels/packed.h"
#include "base/cpu_features.h"
#include "formats/arithmetic.h"

namespace dunlin {

// ---- linear: y[rows, N] = x[rows, K] * w[N, K]^T ----

// Prepares rows [row_begin, row_end) of x for `linear`. The layout of `out` belongs to the
// instruction set and depends on `rows`, so preparing and multiplying name the same rows, columns
// and table. Rows may be prepared in any order.
struct PrepareArgs {
  const float* x;    // row x_row, and behind it the others up to row_end
  int64_t x_stride;  // floats between rows
  int64_t rows;      // all rows of the multiplication
  int64_t columns;   // K; a multiple of 32 for int8
  int64_t row_begin;
  int64_t row_end;
  std::byte* out;  // activation_bytes(arithmetic, rows, columns)
  int64_t x_row = 0;
};
using PrepareFunction = void(const PrepareArgs&) noexcept;
int64_t activation_bytes(Arithmetic arithmetic, int64_t rows, int64_t columns);

// How far ahead of what they multiply kernels ask for packed weights, in bytes, where nobody measured what
// is best (backend/cpu/memory_tuning.h), and for keys and values.
inline constexpr int64_t kPrefetchBytes = 2048;

// Computes stripes [stripe_begin, stripe_end) for rows [row_begin, row_end): y = residual + (sum +
// bias), where a null residual or bias is left out. `residual` may be `y`.
struct LinearArgs {
  PackedMatrix weight;
  int64_t stripe_begin;
  int64_t stripe_end;
  const std::byte* activations;
  int64_t rows;       // as prepared
  int64_t row_begin;  // a multiple of 16
  int64_t row_end;    // a multiple of 16, or rows
  float* y;
  int64_t y_stride;  // floats between rows, also of the residual
  const float* bias;
  const float* residual;
  std::byte* workspace;  // kLinearWorkspaceBytes, one per thread
  int64_t prefetch_bytes = kPrefetchBytes;
};
using LinearFunction = void(const LinearArgs&) noexcept;

// Expanded weight panels and unfinished sums of at most 512 rows x 8 stripes, in tiles of 16 stripes: a
// call with a few stripes per worker (16 at many rows) wastes nothing.
inline constexpr int64_t kLinearStripeBlock = 8;
inline constexpr int64_t kTileStripeBlock = 16;
inline constexpr int64_t kLinearRowBlock = 512;
inline constexpr int64_t kLinearWorkspaceBytes = 576 * 1024;

// ---- rows and elements ----

// Row `row` of a packed matrix as float32, times `scale` unless that is 1: y[columns].
using DecodeRowFunction = void(const PackedMatrix& weight, int64_t row, float scale,
                               float* y) noexcept;

// y[n] = (x * r) * w with r = 1 / sqrt(mean square + eps). y may be x.
using RmsNormFunction = void(const float* x, const float* w, int64_t n, float eps,
                             float* y) noexcept;

// y[n] = a[n] op b[n]. y may be either operand.
using BinaryFunction = void(const float* a, const float* b, int64_t n, float* y) noexcept;

// y[n] = x[n] * factor + y[n], fused.
using AddScaledFunction = void(const float* x, float factor, int64_t n, float* y) noexcept;

// y[n] = act(gate) * up; alpha and limit are read by oai only. y may be either operand.
enum class Gate : uint8_t { silu, gelu_tanh, oai };
inline constexpr int kGates = 3;
using GatedFunction = void(const float* gate, const float* up, int64_t n, float alpha, float limit,
                           float* y) noexcept;

// angles[half][2] = (cos, sin) of position * inv_freq[i], times `scale` unless that is 1.
using RopeAnglesFunction = void(int32_t position, const float* inv_freq, int64_t half, float scale,
                                float* angles) noexcept;

// Rotates the first rotary_dim of every head of one row x[heads, head_dim] by angles[rotary_dim /
// 2][2]; the others are copied. y may be x.
using RopeFunction = void(const float* x, int64_t heads, int64_t head_dim, int64_t rotary_dim,
                          const float* angles, float* y) noexcept;

// ---- logits ----

// Statistics of a row in the logits view: log-sum-exp at 1 and at the row's temperature, entropy,
// varentropy, and 1 when all logits are finite.
inline constexpr int64_t kLogitStatistics = 5;

struct LogitStatistics {
  float max;
  float log_sum_exp;
  float entropy;     // nats
  float varentropy;  // nats squared
  bool finite;       // no NaN, no +infinity, and some logit above -infinity
};
using LogitStatisticsFunction = void(const float* logits, int64_t n,
                                     LogitStatistics* statistics) noexcept;

// The k (1 <= k <= n) largest logits, descending, ties by lowest id; NaN counts as -infinity.
using TopKFunction = void(const float* logits, int64_t n, int64_t k, int32_t* ids,
                          float* values) noexcept;

// ---- the table ----

template <typename Function>
struct Kernel {
  const char* name = nullptr;  // operation_activation_weight_isa
  Function* run = nullptr;     // null: the arithmetic is not defined for the form
};

struct Kernels {
  Isa isa;
  Kernel<PrepareFunction> prepare[kArithmetics];              // by Arithmetic
  Kernel<LinearFunction> linear[kArithmetics][kPackedForms];  // by Arithmetic and PackedForm
  Kernel<DecodeRowFunction> decode_row[kPackedForms];
  Kernel<RmsNormFunction> rms_norm;
  Kernel<BinaryFunction> add;
  Kernel<BinaryFunction> mul;
  Kernel<AddScaledFunction> add_scaled;
  Kernel<GatedFunction> gated[kGates];
  Kernel<RopeAnglesFunction> rope_angles;
  Kernel<RopeFunction> rope;
  Kernel<KvWriteFunction> kv_write[kKvTypes];                // by KvType
  Kernel<AttentionSplitFunction> attention_split[kKvTypes];  // by KvType
  Kernel<AttentionFunction> attention[kKvTypes];             // by KvType
  Kernel<AttentionMergeFunction> attention_merge;
  Kernel<LogitStatisticsFunction> logit_statistics;
  Kernel<TopKFunction> top_k;
};

// The row of an instruction set; the caller has checked that the processor runs it. An entry
// without a kernel of its own is the lower instruction set's, under that one's name.
const Kernels& kernels(Isa isa);

}  // namespace dunlin
