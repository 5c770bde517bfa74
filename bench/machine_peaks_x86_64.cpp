// The limits of AVX2, AVX-512 and AMX tiles, on one thread and, but for the stream, on all processors.
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

DUNLIN_TARGET_AVX2
uint64_t read_avx2(const std::byte* p, size_t bytes) {
  __m256i sums[4] = {};
  for (size_t i = 0; i < bytes; i += 128) {
    _mm_prefetch(reinterpret_cast<const char*>(p + i + 2048), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(p + i + 2112), _MM_HINT_T0);
    for (size_t j = 0; j < 4; ++j) {
      const auto* const line = reinterpret_cast<const __m256i*>(p + i + 32 * j);
      sums[j] = _mm256_xor_si256(sums[j], _mm256_loadu_si256(line));
    }
  }
  const __m256i all =
      _mm256_xor_si256(_mm256_xor_si256(sums[0], sums[1]), _mm256_xor_si256(sums[2], sums[3]));
  uint64_t words[4];
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(words), all);
  return words[0];
}

// As many independent chains as sixteen registers hold beside the operands and one that is free.
constexpr int kChainsAvx2 = 12;
float multiply_add_avx2(int64_t steps) {
  __m256 sums[kChainsAvx2];
  for (int i = 0; i < kChainsAvx2; ++i) sums[i] = _mm256_set1_ps(static_cast<float>(i));
  __m256 a = _mm256_set1_ps(0.999f);
  __m256 b = _mm256_set1_ps(0.001f);
  asm volatile("" : "+x"(a), "+x"(b));  // values the compiler cannot compute with
  for (int64_t step = 0; step < steps; ++step) {
    asm volatile("" : "+x"(a));
#pragma GCC unroll 12
    for (int i = 0; i < kChainsAvx2; ++i) sums[i] = _mm256_fmadd_ps(sums[i], a, b);
  }
  __m256 all = sums[0];
  for (int i = 1; i < kChainsAvx2; ++i) all = _mm256_add_ps(all, sums[i]);
  float lanes[8];
  _mm256_storeu_ps(lanes, all);
  return lanes[0];
}
DUNLIN_TARGET_END

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

constexpr int kChainsAvx512 = 16;
float multiply_add_avx512(int64_t steps) {
  __m512 sums[kChainsAvx512];
  for (int i = 0; i < kChainsAvx512; ++i) sums[i] = _mm512_set1_ps(static_cast<float>(i));
  __m512 a = _mm512_set1_ps(0.999f);
  __m512 b = _mm512_set1_ps(0.001f);
  asm volatile("" : "+v"(a), "+v"(b));  // values the compiler cannot compute with
  for (int64_t step = 0; step < steps; ++step) {
    asm volatile("" : "+v"(a));
#pragma GCC unroll 16
    for (int i = 0; i < kChainsAvx512; ++i) sums[i] = _mm512_fmadd_ps(sums[i], a, b);
  }
  __m512 all = sums[0];
  for (int i = 1; i < kChainsAvx512; ++i) all = _mm512_add_ps(all, sums[i]);
  float lanes[16];
  _mm512_storeu_ps(lanes, all);
  return lanes[0];
}
DUNLIN_TARGET_END

template <auto Read>
void read_stream(benchmark::State& state) {
  const Memory memory(int64_t{512} << 20);
  for (auto _ : state) benchmark::DoNotOptimize(Read(memory.data, memory.size));
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(memory.size));
}

// `Chains` independent chains of multiply-adds of so many lanes.
template <auto Peak, int Chains, int Lanes>
void multiply_add_peak(benchmark::State& state) {
  constexpr int64_t kSteps = 100000;
  for (auto _ : state) benchmark::DoNotOptimize(Peak(kSteps));
  state.counters["FLOP/s"] =
      benchmark::Counter(static_cast<double>(state.iterations() * kSteps * Chains * Lanes * 2),
                         benchmark::Counter::kIsRate);
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
  const Isa best = cpu_features().best;
  if (includes(best, Isa::avx2)) {
    benchmark::RegisterBenchmark("read_stream_avx2", read_stream<read_avx2>);
    register_peak("multiply_add_peak_avx2", multiply_add_peak<multiply_add_avx2, kChainsAvx2, 8>);
  }
  if (includes(best, Isa::avx512)) {
    benchmark::RegisterBenchmark("read_stream_avx512", read_stream<read_avx512>);
    register_peak("multiply_add_peak_avx512",
                  multiply_add_peak<multiply_add_avx512, kChainsAvx512, 16>);
  }
  if (includes(best, Isa::amx)) {
    register_peak("tile_peak_bf16_amx", tile_peak<false>);
    register_peak("tile_peak_int8_amx", tile_peak<true>);
  }
  register_free_order();
}

}  // namespace dunlin
