// The limits of AVX-512 and of AMX tiles, on one thread and, but for the stream, on all processors.
#include <benchmark/benchmark.h>
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <random>

#include "backend/cpu/kernels/target.h"
#include "base/cpu_features.h"
#include "free_order.h"
#include "kernel_data.h"
#include "machine_peaks.h"
#include "tile_peak.h"

namespace dunlin {
namespace {

DUNLIN_TARGET_AVX512
uint64_t read_avx512(const std::byte* p, size_t bytes) {
  __m512i sums[4] = {};
  for (size_t i = 0; i < bytes; i += 256) {
    for (size_t j = 0; j < 4; ++j) {
      _mm_prefetch(reinterpret_cast<const char*>(p + i + 64 * j + 2048), _MM_HINT_T0);
      sums[j] = _mm512_xor_si512(sums[j], _mm512_loadu_si512(p + i + 64 * j));
    }
  }
  const __m512i all =
      _mm512_xor_si512(_mm512_xor_si512(sums[0], sums[1]), _mm512_xor_si512(sums[2], sums[3]));
  uint64_t words[8];
  _mm512_storeu_si512(words, all);
  return words[0];
}

// Sixteen independent chains of multiply-adds.
float multiply_add_avx512(int64_t steps) {
  __m512 sums[16];
  for (int i = 0; i < 16; ++i) sums[i] = _mm512_set1_ps(static_cast<float>(i));
  __m512 a = _mm512_set1_ps(0.999f);
  __m512 b = _mm512_set1_ps(0.001f);
  asm volatile("" : "+v"(a), "+v"(b));  // values the compiler cannot compute with
  for (int64_t step = 0; step < steps; ++step) {
    asm volatile("" : "+v"(a));
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) sums[i] = _mm512_fmadd_ps(sums[i], a, b);
  }
  __m512 all = sums[0];
  for (int i = 1; i < 16; ++i) all = _mm512_add_ps(all, sums[i]);
  float lanes[16];
  _mm512_storeu_ps(lanes, all);
  return lanes[0];
}
DUNLIN_TARGET_END

void read_stream(benchmark::State& state) {
  const Memory memory(int64_t{512} << 20);
  for (auto _ : state) benchmark::DoNotOptimize(read_avx512(memory.data, memory.size));
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(memory.size));
}

void multiply_add_peak(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(multiply_add_avx512(100000));
  state.counters["FLOP/s"] = benchmark::Counter(
      static_cast<double>(state.iterations()) * 100000 * 16 * 32, benchmark::Counter::kIsRate);
}

template <bool Int8>
void tile_peak(benchmark::State& state) {
  constexpr int64_t kSteps = 100000;
  constexpr int64_t kProduct = 2 * 16 * 16 * (Int8 ? 64 : 32);  // operations of one of them
  const Memory operands(4096);
  std::mt19937 random(1);
  fill(operands.data, 4096, random);
  for (auto _ : state) {
    amx::tile_products<Int8>(operands.data, kSteps);
    benchmark::ClobberMemory();
  }
  state.counters["FLOP/s"] = benchmark::Counter(
      static_cast<double>(state.iterations() * kSteps * 4 * kProduct), benchmark::Counter::kIsRate);
}

// On one thread, and on all processors. The rate is that of the wall clock: operations of all threads
// are added up.
void register_peak(const char* name, void (*function)(benchmark::State&)) {
  auto* const peak = benchmark::RegisterBenchmark(name, function);
  peak->UseRealTime()->Threads(1);
  if (cpu_features().cores > 1) peak->Threads(cpu_features().cores);
}

}  // namespace

void register_peaks() {
  if (includes(cpu_features().best, Isa::avx512)) {
    benchmark::RegisterBenchmark("read_stream_avx512", read_stream);
    register_peak("multiply_add_peak_avx512", multiply_add_peak);
  }
  if (includes(cpu_features().best, Isa::amx)) {
    register_peak("tile_peak_bf16_amx", tile_peak<false>);
    register_peak("tile_peak_int8_amx", tile_peak<true>);
  }
  register_free_order();
}

}  // namespace dunlin
