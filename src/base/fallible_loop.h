// A loop over a thread pool whose tasks can fail.
#pragma once

#include <cstdint>
#include <new>
#include <optional>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"

namespace dunlin {

// pool.parallel_for with f(begin, end, worker) -> Result<void>. Returns an error of one of the
// workers; a worker that had one does nothing more. Running out of memory is an error too: nothing
// may be thrown through the pool.
template <typename F>
Result<void> try_parallel_for(ThreadPool& pool, int64_t tasks, int64_t grain, F&& f) {
  std::vector<std::optional<Error>> errors(static_cast<size_t>(pool.threads()));
  pool.parallel_for(tasks, grain, [&](int64_t begin, int64_t end, int worker) {
    std::optional<Error>& error = errors[static_cast<size_t>(worker)];
    if (error) return;
    try {
      const Result<void> done = f(begin, end, worker);
      if (!done.ok()) error = done.error();
    } catch (const std::bad_alloc&) {
      error = out_of_memory();
    }
  });
  for (const std::optional<Error>& error : errors) {
    if (error) return *error;
  }
  return {};
}

}  // namespace dunlin
