// How the weights of a model are read fastest: how far ahead of what they multiply the kernels ask for
// them, and in which pages they lie. Both are of the processor, its host, the threads and the kernel, so
// they are measured when a large model is loaded for the first time, and kept beside its packed weights.
// They change no bit of a result, and nothing that is in their way is an error.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/weights.h"
#include "base/result.h"
#include "base/thread_pool.h"

namespace dunlin::cpu {

struct MemoryTuning {
  int64_t prefetch_bytes = kPrefetchBytes;
  bool huge_pages = true;  // of weights that are copied; mapped ones have the pages of their file

  friend bool operator==(const MemoryTuning&, const MemoryTuning&) = default;
};

// What the kernels of single rows read per second; 1e9 bytes.
struct MemoryRate {
  MemoryTuning tuning;
  double gb_s = 0;
};

// The fastest, unless the default is among `rates` and that is no more than kWorthwhile above it: two runs
// of one machine differ by as much.
inline constexpr double kWorthwhile = 1.03;
MemoryTuning fastest(std::span<const MemoryRate> rates);

// The kernel that most of a model's weights go through when it generates, and a matrix of its form.
struct StreamingKernel {
  Kernel<LinearFunction> linear;
  Kernel<PrepareFunction> prepare;
  Arithmetic arithmetic = Arithmetic::f32;
  PackedLayout layout;
};

// Nothing for a Program without `linear` and `experts` that kernels run.
std::optional<StreamingKernel> streaming_kernel(const Program& program, const Weights& weights,
                                                const Kernels& kernels);

// Multiplies one row by `bytes` of zero weights in each kind of pages, with every distance in turn, for about
// `seconds`: three rounds at least, of which the medians count. Takes twice `bytes` of memory meanwhile.
// Error (kind does_not_fit): there is not so much.
Result<std::vector<MemoryRate>> measure_memory(const StreamingKernel& kernel, ThreadPool& pool,
                                               int64_t bytes, double seconds);

struct TunedMemory {
  MemoryTuning tuning = {};
  std::string origin = "as usual";  // for people: how that is known
};

// What is kept in `folder` for this processor, these threads and this kernel; else the fastest of
// measure_memory() with at most `most_bytes`, which is kept then. 0: nothing is measured.
TunedMemory tune_memory(const StreamingKernel& kernel, ThreadPool& pool, const std::string& folder,
                        int64_t most_bytes);

// The file of tune_memory().
std::string tuning_path(const std::string& folder, const StreamingKernel& kernel, int threads);

}  // namespace dunlin::cpu
