#include "cli/stream_bandwidth.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <memory>

#include "base/thread_pool.h"

namespace dunlin {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kBlock = 64 << 10;  // bytes of a task
constexpr int64_t kWords = kBlock / 8;
constexpr int64_t kLineWords = 64 / 8;
// Ahead of what is read, as the kernels have it: without it, and without huge pages, one machine gave
// 14 GB/s where a model streamed 22.
constexpr int64_t kAheadWords = 2048 / 8;
constexpr size_t kHugePage = 2 << 20;

struct Free {
  void operator()(uint64_t* memory) const { std::free(memory); }
};
using Words = std::unique_ptr<uint64_t[], Free>;

Words allocate(size_t bytes) {
  const size_t whole_pages = (bytes + kHugePage - 1) / kHugePage * kHugePage;
  Words words(static_cast<uint64_t*>(std::aligned_alloc(kHugePage, whole_pages)));
  // Advice only: small pages work, too.
  if (words != nullptr) (void)madvise(words.get(), whole_pages, MADV_HUGEPAGE);
  return words;
}

// The block as `Runs` runs side by side, a line of each in turn. Eight chains of exclusive or, so that no
// load waits for another.
template <int64_t Runs, bool Ahead>
uint64_t read_block(const uint64_t* words) {
  constexpr int64_t kRun = kWords / Runs;
  uint64_t sums[8] = {};
  for (int64_t i = 0; i < kRun; i += kLineWords) {
    for (int64_t run = 0; run < Runs; ++run) {
      const uint64_t* const line = words + run * kRun + i;
      if constexpr (Ahead) __builtin_prefetch(line + kAheadWords);
      for (int64_t lane = 0; lane < 8; ++lane) sums[lane] ^= line[lane];
    }
  }
  uint64_t sum = 0;
  for (const uint64_t each : sums) sum ^= each;
  return sum;
}

// Ways of reading, which take turns; the fastest counts. The first alone is too low: kernels with the same
// look ahead read up to 1.26 times as fast (docs/formats.md), likely as loads and requests ahead of them
// share the few buffers in which a core's misses wait.
using ReadBlock = uint64_t (*)(const uint64_t* words);
constexpr ReadBlock kWays[] = {read_block<1, true>, read_block<1, false>, read_block<4, true>};
constexpr auto kWayCount = static_cast<int>(std::size(kWays));

}  // namespace

Result<double> measure_stream_gb_s(int threads, uint64_t bytes, double seconds) {
  DUNLIN_ASSIGN_OR_RETURN(const auto pool, ThreadPool::create(threads));
  const int64_t blocks = std::max<int64_t>(threads, static_cast<int64_t>(bytes) / kBlock);
  const auto words = static_cast<size_t>(blocks * kWords);
  const Words buffer = allocate(words * sizeof(uint64_t));
  if (buffer == nullptr) {
    return Error{ErrorKind::does_not_fit,
                 fmt::format("no memory for {} bytes to measure the bandwidth with", words * 8)};
  }
  pool->parallel_for(blocks, 1, [&](int64_t begin, int64_t end, int) {
    std::memset(buffer.get() + begin * kWords, 1, static_cast<size_t>((end - begin) * kBlock));
  });
  // What the reads give is kept, or the compiler would drop them.
  std::atomic<uint64_t> sum = 0;
  double best = 0;
  const auto start = Clock::now();
  for (int pass = 0;; ++pass) {
    const ReadBlock read = kWays[pass % kWayCount];
    const auto before = Clock::now();
    pool->parallel_for(blocks, 1, [&](int64_t begin, int64_t end, int) {
      uint64_t own = 0;
      for (int64_t block = begin; block < end; ++block) own ^= read(buffer.get() + block * kWords);
      sum.fetch_xor(own, std::memory_order_relaxed);
    });
    const auto after = Clock::now();
    const double took = std::chrono::duration<double>(after - before).count();
    if (pass > 0) best = std::max(best, static_cast<double>(words) * 8e-9 / took);
    const bool all_ways = pass >= kWayCount;
    if (all_ways && std::chrono::duration<double>(after - start).count() > seconds) break;
  }
  return best;
}

}  // namespace dunlin
