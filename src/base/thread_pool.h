// ThreadPool: persistent workers that run one function over a range of tasks and meet at a barrier. They
// are not pinned, and what they read is interleaved over NUMA nodes (base/memory_policy.h): the system
// spreads them over the nodes, and a piece that is stolen across nodes reads no other memory than before.
// The caller is worker 0. Waiting is a bounded spin (pause), then a futex: spinning workers on a
// shared core cost far more than the four microseconds of a wake-up.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

#include "base/result.h"

namespace dunlin {

// Hears how long each worker was at work in a loop: what profiles are made of.
class LoopObserver {
 public:
  // From the thread of the worker, before the loop ends: the caller sees afterwards what was
  // written here. Times are those of steady_nanoseconds().
  virtual void worked(int worker, int64_t begin_ns, int64_t end_ns) noexcept = 0;

 protected:
  ~LoopObserver() = default;
};

class ThreadPool {
 public:
  // `threads` in [1, 1024], the caller included; an error when the system refuses a thread. Workers
  // set flush-to-zero (docs/decisions/0002-numerics.md) and are not pinned.
  static Result<std::unique_ptr<ThreadPool>> create(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;

  // From the next loop on; null: nobody hears of it, which costs a loop one branch for each worker.
  // Not while a loop runs. A loop of one piece runs on the caller alone and is not heard of.
  void observe(LoopObserver* observer);

  // Calls fn(context, begin, end, worker) over [0, tasks) split into pieces of `grain` tasks (>= 1,
  // at most 2^32 - 1 pieces) and returns when all are done. Each worker owns a contiguous range and
  // takes from its front; an idle worker steals from another's tail. fn must not throw, and must
  // not call this pool. One caller at a time; flush-to-zero holds on the caller for the duration.
  // No allocation.
  using Function = void (*)(void* context, int64_t begin, int64_t end, int worker);
  void parallel_for(int64_t tasks, int64_t grain, Function fn, void* context) noexcept;

  // The same for any callable f(begin, end, worker).
  template <typename F>
  void parallel_for(int64_t tasks, int64_t grain, F&& f) noexcept {
    using Callable = std::remove_reference_t<F>;
    parallel_for(
        tasks, grain,
        [](void* context, int64_t begin, int64_t end, int worker) {
          (*static_cast<Callable*>(context))(begin, end, worker);
        },
        const_cast<void*>(static_cast<const void*>(std::addressof(f))));
  }

 private:
  struct State;
  explicit ThreadPool(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Sets flush-to-zero, denormals-are-zero and round-to-nearest on the calling thread for the life of
// the object, then restores.
class FlushToZero {
 public:
  FlushToZero();
  ~FlushToZero();
  FlushToZero(const FlushToZero&) = delete;
  FlushToZero& operator=(const FlushToZero&) = delete;

 private:
  unsigned saved_;
};

}  // namespace dunlin
