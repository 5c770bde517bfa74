// ThreadPool: ranges of pieces in one atomic word per worker, a futex barrier at both ends.
#include "base/thread_pool.h"

#include <fmt/format.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <system_error>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/cpu_features.h"
#include "base/processor_control.h"
#include "base/steady_clock.h"

namespace dunlin {

namespace {

constexpr int kMaxThreads = 1024;
constexpr int kSpins =
    2000;  // pauses, 20 to 80 microseconds: longer than the gap between two operations of a step

void futex_wait(std::atomic<uint32_t>& word, uint32_t expected) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT_PRIVATE, expected, nullptr,
          nullptr, 0);
}

void futex_wake(std::atomic<uint32_t>& word, int count) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE_PRIVATE, count, nullptr,
          nullptr, 0);
}

// Pieces [begin, end) that one worker owns. Within one parallel_for begin only rises and end only
// falls, so a compare-exchange on the pair cannot confuse two states.
struct alignas(64) Range {
  std::atomic<uint64_t> packed{0};

  static uint64_t pack(uint64_t begin, uint64_t end) { return begin << 32 | end; }

  bool take_front(uint64_t* piece) {
    uint64_t seen = packed.load(std::memory_order_relaxed);
    while ((seen >> 32) < (seen & 0xffffffffu)) {
      if (packed.compare_exchange_weak(seen, seen + (uint64_t{1} << 32),
                                       std::memory_order_relaxed)) {
        *piece = seen >> 32;
        return true;
      }
    }
    return false;
  }

  bool take_back(uint64_t* piece) {
    uint64_t seen = packed.load(std::memory_order_relaxed);
    while ((seen >> 32) < (seen & 0xffffffffu)) {
      if (packed.compare_exchange_weak(seen, seen - 1, std::memory_order_relaxed)) {
        *piece = (seen & 0xffffffffu) - 1;
        return true;
      }
    }
    return false;
  }
};

}  // namespace

struct ThreadPool::State {
  explicit State(int count)
      : ranges(static_cast<size_t>(count)), spins(count > cpu_features().cores ? 0 : kSpins) {}
  // Also when starting the next worker, or the pool itself, ran out of memory.
  ~State() { shut_down(); }

  std::vector<Range> ranges;  // one per worker
  const int
      spins;  // none when threads outnumber cores: a spinning thread holds up the one it waits for
  std::vector<std::thread> workers;

  // The current loop, published by `epoch`.
  Function fn = nullptr;
  void* context = nullptr;
  int64_t tasks = 0;
  int64_t grain = 1;
  LoopObserver* observer = nullptr;
  bool stop = false;

  alignas(64) std::atomic<uint32_t> epoch{0};  // counts loops; workers wait for it to change
  alignas(64) std::atomic<uint32_t> sleepers{
      0};  // workers in, or about to enter, the futex on epoch
  alignas(64) std::atomic<uint32_t> remaining{0};  // workers that have not finished the loop
  std::atomic<uint32_t> caller_sleeps{0};

  uint32_t wait_for_epoch(uint32_t last);
  void wait_for_workers();
  void publish();
  void work(int worker);
  void take_pieces(int worker);
  void run_piece(uint64_t piece, int worker);
  void worker_main(int worker);
  void shut_down();
};

uint32_t ThreadPool::State::wait_for_epoch(uint32_t last) {
  for (int spin = 0; spin < spins; ++spin) {
    const uint32_t now = epoch.load(std::memory_order_acquire);
    if (now != last) return now;
    pause_in_loop();
  }
  // Sequential consistency orders this increment against publish(): either the caller sees a
  // sleeper and wakes it, or the kernel sees the new epoch and does not sleep.
  sleepers.fetch_add(1);
  uint32_t now = epoch.load();
  while (now == last) {
    futex_wait(epoch, last);
    now = epoch.load();
  }
  sleepers.fetch_sub(1);
  return now;
}

void ThreadPool::State::publish() {
  epoch.fetch_add(1);
  if (sleepers.load() > 0) futex_wake(epoch, std::numeric_limits<int>::max());
}

void ThreadPool::State::wait_for_workers() {
  for (int spin = 0; spin < spins; ++spin) {
    if (remaining.load(std::memory_order_acquire) == 0) return;
    pause_in_loop();
  }
  caller_sleeps.store(1);
  for (uint32_t left = remaining.load(); left != 0; left = remaining.load())
    futex_wait(remaining, left);
  caller_sleeps.store(0);
}

void ThreadPool::State::run_piece(uint64_t piece, int worker) {
  const int64_t begin = static_cast<int64_t>(piece) * grain;
  fn(context, begin, std::min(tasks, begin + grain), worker);
}

void ThreadPool::State::work(int worker) {
  if (observer == nullptr) [[likely]] {
    take_pieces(worker);
    return;
  }
  const int64_t begin = steady_nanoseconds();
  take_pieces(worker);
  observer->worked(worker, begin, steady_nanoseconds());
}

void ThreadPool::State::take_pieces(int worker) {
  const int count = static_cast<int>(ranges.size());
  uint64_t piece = 0;
  while (ranges[static_cast<size_t>(worker)].take_front(&piece)) run_piece(piece, worker);
  for (int i = 1; i < count; ++i) {
    Range& victim = ranges[static_cast<size_t>((worker + i) % count)];
    while (victim.take_back(&piece)) run_piece(piece, worker);
  }
}

void ThreadPool::State::worker_main(int worker) {
  const FlushToZero flush_to_zero;
  uint32_t last = 0;
  while (true) {
    last = wait_for_epoch(last);
    if (stop) return;
    work(worker);
    if (remaining.fetch_sub(1) == 1 && caller_sleeps.load() != 0) futex_wake(remaining, 1);
  }
}

void ThreadPool::State::shut_down() {
  stop = true;
  publish();
  for (std::thread& worker : workers) worker.join();
}

Result<std::unique_ptr<ThreadPool>> ThreadPool::create(int threads) {
  if (threads < 1 || threads > kMaxThreads) {
    return usage_error(fmt::format("{} threads: expected 1 to {}", threads, kMaxThreads));
  }
  auto state = std::make_unique<State>(threads);
  state->workers.reserve(static_cast<size_t>(threads) - 1);
  try {
    for (int worker = 1; worker < threads; ++worker) {
      state->workers.emplace_back([raw = state.get(), worker] { raw->worker_main(worker); });
    }
  } catch (const std::system_error& error) {
    const size_t started = state->workers.size() + 1;
    return runtime_error(
        fmt::format("cannot start thread {} of {}: {}", started + 1, threads, error.what()));
  }
  return std::unique_ptr<ThreadPool>(new ThreadPool(std::move(state)));
}

ThreadPool::ThreadPool(std::unique_ptr<State> state) : state_(std::move(state)) {}

ThreadPool::~ThreadPool() = default;

int ThreadPool::threads() const {
  return static_cast<int>(state_->ranges.size());
}

// The workers read it after the next publish(), and have done so before a loop ends.
void ThreadPool::observe(LoopObserver* observer) {
  state_->observer = observer;
}

void ThreadPool::parallel_for(int64_t tasks, int64_t grain, Function fn, void* context) noexcept {
  DUNLIN_CHECK(grain >= 1, "parallel_for needs a positive grain");
  if (tasks <= 0) return;
  const FlushToZero flush_to_zero;
  State& state = *state_;
  const uint64_t pieces = static_cast<uint64_t>((tasks - 1) / grain) + 1;
  DUNLIN_CHECK(pieces <= std::numeric_limits<uint32_t>::max(), "parallel_for has too many pieces");
  state.fn = fn;
  state.context = context;
  state.tasks = tasks;
  state.grain = grain;
  const uint64_t count = state.ranges.size();
  if (count == 1 || pieces == 1) {
    for (uint64_t piece = 0; piece < pieces; ++piece) state.run_piece(piece, 0);
    return;
  }
  for (uint64_t worker = 0; worker < count; ++worker) {
    const uint64_t packed = Range::pack(pieces * worker / count, pieces * (worker + 1) / count);
    state.ranges[worker].packed.store(packed, std::memory_order_relaxed);
  }
  state.remaining.store(static_cast<uint32_t>(count - 1), std::memory_order_relaxed);
  state.publish();
  state.work(0);
  state.wait_for_workers();
}

FlushToZero::FlushToZero() : saved_(float_control()) {
  set_float_control(flushing_to_zero(saved_));
}
FlushToZero::~FlushToZero() {
  set_float_control(saved_);
}

}  // namespace dunlin
