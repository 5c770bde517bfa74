// linear_bf16_bf16 with VDPBF16PS: 32 products in an instruction where the kernels have 16, and sums that no
// other instruction set has.
#include "free_order.h"

#include <benchmark/benchmark.h>
#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/kernels/target.h"
#include "base/cpu_features.h"
#include "base/float16.h"
#include "base/thread_pool.h"
#include "kernel_data.h"

namespace dunlin {
namespace {

constexpr int64_t kChannels = 8192;
constexpr int64_t kColumns = 2048;
constexpr int64_t kRecordBytes = 1024;  // of 16 channels and 32 columns
constexpr int64_t kStripeBytes = kColumns / 32 * kRecordBytes;
// Pairs of columns from row to row, 32 bits each: an odd number of lines, so that rows do not fall into one
// cache set.
constexpr int64_t kRowPairs = kColumns / 2 + 16;
constexpr int64_t kStepRecords = 16;  // 512 columns: two stripes are 32 KB of a 48 KB L1

DUNLIN_TARGET_BEGIN("avx,avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16")
// sums[R][S][16] of R rows and S stripes += records [first, end); the first step begins at zero.
template <int R, int S>
DUNLIN_INLINE void add_records(const std::byte* weights, const uint32_t* x, int64_t first,
                               int64_t end, float* sums) {
  __m512 sum[R][S];
  for (int r = 0; r < R; ++r) {
    for (int s = 0; s < S; ++s)
      sum[r][s] = first == 0 ? _mm512_setzero_ps() : _mm512_loadu_ps(sums + (r * S + s) * 16);
  }
  for (int64_t record = first; record < end; ++record) {
#pragma GCC unroll 4
    for (int64_t j = 0; j < 16; ++j) {
      __m512i lines[S];
      for (int s = 0; s < S; ++s) {
        const std::byte* const line = weights + s * kStripeBytes + record * kRecordBytes + 64 * j;
        if constexpr (R == 1) _mm_prefetch(reinterpret_cast<const char*>(line + 2048), _MM_HINT_T0);
        lines[s] = _mm512_loadu_si512(line);
      }
      for (int r = 0; r < R; ++r) {
        const __m512i pair =
            _mm512_set1_epi32(static_cast<int>(x[r * kRowPairs + 16 * record + j]));
        for (int s = 0; s < S; ++s) {
          sum[r][s] = _mm512_dpbf16_ps(sum[r][s], __builtin_bit_cast(__m512bh, pair),
                                       __builtin_bit_cast(__m512bh, lines[s]));
        }
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int s = 0; s < S; ++s) _mm512_storeu_ps(sums + (r * S + s) * 16, sum[r][s]);
  }
}

// y[rows][kChannels], S stripes and a step of columns at a time. `sums` holds rows x S x 16.
template <int R, int S>
void free_linear(const std::byte* weights, const uint32_t* x, int64_t rows, float* sums, float* y) {
  constexpr int64_t kRecords = kColumns / 32;
  constexpr int64_t kStep = R == 1 ? kRecords : kStepRecords;
  for (int64_t stripe = 0; stripe < kChannels / 16; stripe += S) {
    const std::byte* const first = weights + stripe * kStripeBytes;
    for (int64_t record = 0; record < kRecords; record += kStep) {
      for (int64_t row = 0; row < rows; row += R)
        add_records<R, S>(first, x + row * kRowPairs, record, record + kStep, sums + row * S * 16);
    }
    for (int64_t row = 0; row < rows; ++row) {
      for (int s = 0; s < S; ++s) {
        _mm512_storeu_ps(y + row * kChannels + 16 * (stripe + s),
                         _mm512_loadu_ps(sums + (row * S + s) * 16));
      }
    }
  }
}
DUNLIN_TARGET_END

std::vector<uint32_t> pairs_of(const Memory& x, int64_t rows) {
  std::vector<uint32_t> pairs(static_cast<size_t>(rows * kRowPairs));
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t j = 0; j < kColumns / 2; ++j) {
      const float* const from = x.floats() + row * kColumns + 2 * j;
      const uint32_t even = to_bfloat16(from[0]).bits;
      const uint32_t odd = to_bfloat16(from[1]).bits;
      pairs[static_cast<size_t>(row * kRowPairs + j)] = even | odd << 16;
    }
  }
  return pairs;
}

// What the kernel of AVX-512 makes of the same.
std::vector<float> kernel_results(const PackedMatrix& weight, const Memory& x, int64_t rows) {
  const FlushToZero flush_to_zero;
  const Kernels& table = kernels(Isa::avx512);
  constexpr auto kBf16 = static_cast<int>(Arithmetic::bf16);
  const Memory activations(activation_bytes(Arithmetic::bf16, rows, kColumns));
  const Memory workspace(kLinearWorkspaceBytes);
  std::vector<float> y(static_cast<size_t>(rows * kChannels));
  table.prepare[kBf16].run({x.floats(), kColumns, rows, kColumns, 0, rows, activations.data});
  LinearArgs args{};
  args.weight = weight;
  args.stripe_end = weight.layout.stripes();
  args.activations = activations.data;
  args.rows = rows;
  args.row_end = rows;
  args.y = y.data();
  args.y_stride = kChannels;
  args.workspace = workspace.data;
  table.linear[kBf16][static_cast<int>(PackedForm::bf16)].run(args);
  return y;
}

// Whether both are sums of the same products. Weights and activations here are of a few digits.
bool agree(const std::vector<float>& a, const std::vector<float>& b) {
  return std::ranges::equal(a, b, [](float left, float right) {
    return std::abs(left - right) <= 1e-3f * std::max(1.0f, std::abs(right));
  });
}

template <int R, int S>
void free_order(benchmark::State& state, int64_t rows) {
  const FlushToZero flush_to_zero;
  const PackedLayout layout = layout_of(PackedForm::bf16, kChannels, kColumns);
  const Weights weights(layout, rows == 1 ? int64_t{512} << 20 : 0);
  const Memory x(rows * kColumns * 4);
  for (int64_t i = 0; i < rows * kColumns; ++i) x.floats()[i] = static_cast<float>(i % 17) - 8.0f;
  const std::vector<uint32_t> pairs = pairs_of(x, rows);
  const Memory sums(rows * S * 16 * 4);
  std::vector<float> y(static_cast<size_t>(rows * kChannels));
  free_linear<R, S>(weights.copy(0).data, pairs.data(), rows, sums.floats(), y.data());
  if (!agree(y, kernel_results(weights.copy(0), x, rows))) {
    state.SkipWithError("its results are not those of the kernel");
    return;
  }
  int64_t copy = 0;
  for (auto _ : state) {
    free_linear<R, S>(weights.copy(copy++).data, pairs.data(), rows, sums.floats(), y.data());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * layout.bytes());
  state.counters["FLOP/s"] =
      benchmark::Counter(static_cast<double>(state.iterations() * 2 * rows * kChannels * kColumns),
                         benchmark::Counter::kIsRate);
}

template <int R, int S>
void add(int64_t rows) {
  const std::string name = "free_order_bf16_bf16_avx512/m" + std::to_string(rows) + "_n8192_k2048";
  benchmark::RegisterBenchmark(name.c_str(), free_order<R, S>, rows);
}

}  // namespace

// Rows as kernels_bench has them of linear_bf16_bf16_avx512.
void register_free_order() {
  const CpuFeatures& features = cpu_features();
  constexpr std::string_view kFlag = "avx512_bf16";
  const bool has = std::ranges::find(features.flags, kFlag) != features.flags.end();
  if (!includes(features.best, Isa::avx512) || !has) return;
  add<1, 2>(1);
  add<4, 2>(4);
  add<8, 2>(8);
  add<8, 2>(512);
}

}  // namespace dunlin
