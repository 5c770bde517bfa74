// The limits of NEON, SDOT and SMMLA on one thread.
#include <arm_neon.h>
#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>

#include "backend/cpu/kernels/target.h"
#include "base/cpu_features.h"
#include "kernel_data.h"
#include "machine_peaks.h"

namespace dunlin {
namespace {

uint64_t read_neon(const std::byte* p, size_t bytes) {
  uint8x16_t sums[4] = {vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0)};
  for (size_t i = 0; i < bytes; i += 64) {
    __builtin_prefetch(p + i + 2048);
    const uint8_t* line = reinterpret_cast<const uint8_t*>(p + i);
    for (size_t j = 0; j < 4; ++j) sums[j] = veorq_u8(sums[j], vld1q_u8(line + 16 * j));
  }
  const uint8x16_t all = veorq_u8(veorq_u8(sums[0], sums[1]), veorq_u8(sums[2], sums[3]));
  return vgetq_lane_u64(vreinterpretq_u64_u8(all), 0);
}

// Sixteen independent chains of multiply-adds.
float multiply_add_neon(int64_t steps) {
  float32x4_t sums[16];
  for (int i = 0; i < 16; ++i) sums[i] = vdupq_n_f32(static_cast<float>(i));
  float32x4_t a = vdupq_n_f32(0.999f);
  float32x4_t b = vdupq_n_f32(0.001f);
  asm volatile("" : "+w"(a), "+w"(b));  // values the compiler cannot compute with
  for (int64_t step = 0; step < steps; ++step) {
    asm volatile("" : "+w"(a));
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) sums[i] = vfmaq_f32(b, sums[i], a);
  }
  float32x4_t all = sums[0];
  for (int i = 1; i < 16; ++i) all = vaddq_f32(all, sums[i]);
  return vgetq_lane_f32(all, 0);
}

DUNLIN_TARGET_DOTPROD_BEGIN
int32_t multiply_bytes_dotprod(int64_t steps) {
  int32x4_t sums[16];
  for (int i = 0; i < 16; ++i) sums[i] = vdupq_n_s32(i);
  int8x16_t a = vdupq_n_s8(3);
  asm volatile("" : "+w"(a));
  for (int64_t step = 0; step < steps; ++step) {
    asm volatile("" : "+w"(a));
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) sums[i] = vdotq_s32(sums[i], a, a);
  }
  int32x4_t all = sums[0];
  for (int i = 1; i < 16; ++i) all = vaddq_s32(all, sums[i]);
  return vgetq_lane_s32(all, 0);
}
DUNLIN_TARGET_DOTPROD_END

DUNLIN_TARGET_I8MM_BEGIN
int32_t multiply_bytes_i8mm(int64_t steps) {
  int32x4_t sums[16];
  for (int i = 0; i < 16; ++i) sums[i] = vdupq_n_s32(i);
  int8x16_t a = vdupq_n_s8(3);
  asm volatile("" : "+w"(a));
  for (int64_t step = 0; step < steps; ++step) {
    asm volatile("" : "+w"(a));
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) sums[i] = vmmlaq_s32(sums[i], a, a);
  }
  int32x4_t all = sums[0];
  for (int i = 1; i < 16; ++i) all = vaddq_s32(all, sums[i]);
  return vgetq_lane_s32(all, 0);
}
DUNLIN_TARGET_I8MM_END

constexpr int64_t kPeakSteps = 100000;

void read_stream(benchmark::State& state) {
  const Memory memory(int64_t{512} << 20);
  for (auto _ : state) benchmark::DoNotOptimize(read_neon(memory.data, memory.size));
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(memory.size));
}

// `operations`: multiplications and additions of one instruction.
template <auto Peak>
void peak(benchmark::State& state, double operations) {
  for (auto _ : state) benchmark::DoNotOptimize(Peak(kPeakSteps));
  state.counters["FLOP/s"] =
      benchmark::Counter(static_cast<double>(state.iterations() * kPeakSteps * 16) * operations,
                         benchmark::Counter::kIsRate);
}

}  // namespace

void register_peaks() {
  const Isa best = cpu_features().best;
  if (includes(best, Isa::neon)) {
    benchmark::RegisterBenchmark("read_stream_neon", read_stream);
    benchmark::RegisterBenchmark("multiply_add_peak_neon", peak<multiply_add_neon>, 8.0);
  }
  if (includes(best, Isa::dotprod)) {
    benchmark::RegisterBenchmark("multiply_bytes_peak_dotprod", peak<multiply_bytes_dotprod>, 32.0);
  }
  if (includes(best, Isa::i8mm)) {
    benchmark::RegisterBenchmark("multiply_bytes_peak_i8mm", peak<multiply_bytes_i8mm>, 64.0);
  }
}

}  // namespace dunlin
