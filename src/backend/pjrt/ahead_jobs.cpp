// Threads of its own and not a ThreadPool's, whose flush-to-zero the compiler's threads would take
// over: XLA computes constants while it compiles.
#include "backend/pjrt/ahead_jobs.h"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <new>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

namespace dunlin::pjrt {
namespace {

class JobQueue {
 public:
  JobQueue(const std::vector<AheadJob>& jobs, const AheadProgress& progress,
           const CompileJob& compile)
      : jobs_(jobs), progress_(progress), compile_(compile), programs_(jobs.size()) {}

  // Until nothing is left; on as many threads as one likes.
  void work() {
    while (const std::optional<size_t> job = take()) finish(*job, made_of(jobs_[*job]));
  }

  Result<std::vector<AheadProgram>> result() && {
    if (error_) return *std::move(error_);
    return std::move(programs_);
  }

 private:
  std::optional<size_t> take() {
    const std::lock_guard lock(mutex_);
    if (error_ || next_ == jobs_.size()) return std::nullopt;
    tell(next_);
    return next_++;
  }

  Result<AheadProgram> made_of(const AheadJob& job) const {
    const auto start = std::chrono::steady_clock::now();
    try {
      auto made = compile_(job.text());
      if (!made.ok()) return made.error().with_context(job.name);
      const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
      made->name = job.name;
      made->seconds = time.count();
      return made;
    } catch (const std::bad_alloc&) {
      return out_of_memory();
    }
  }

  void finish(size_t job, Result<AheadProgram> made) {
    const std::lock_guard lock(mutex_);
    if (made.ok()) {
      programs_[job] = std::move(made).value();
      ++done_;
    } else if (!error_) {
      error_ = made.error();
    }
    tell(job);
  }

  void tell(size_t job) const {
    const auto fraction = static_cast<double>(done_) / static_cast<double>(jobs_.size());
    if (progress_) progress_(fraction, jobs_[job].name);
  }

  const std::vector<AheadJob>& jobs_;
  const AheadProgress& progress_;
  const CompileJob& compile_;
  std::mutex mutex_;
  size_t next_ = 0;
  size_t done_ = 0;
  std::vector<AheadProgram> programs_;
  std::optional<Error> error_;
};

bool is_named(const AheadJob& job, const std::string& pattern) {
  return ::fnmatch(pattern.c_str(), job.name.c_str(), 0) == 0;
}

}  // namespace

Result<std::vector<AheadJob>> named_jobs(std::vector<AheadJob> jobs,
                                         const std::vector<std::string>& patterns) {
  if (patterns.empty()) return jobs;
  for (const std::string& pattern : patterns) {
    const auto fits = [&pattern](const AheadJob& job) { return is_named(job, pattern); };
    if (std::ranges::any_of(jobs, fits)) continue;
    std::string names;
    for (const AheadJob& job : jobs)
      names += fmt::format("{}\"{}\"", names.empty() ? "" : ", ", job.name);
    return usage_error(fmt::format("--only {}: no program has such a name; there are {}", pattern,
                                   names.empty() ? "none" : names));
  }
  std::erase_if(jobs, [&patterns](const AheadJob& job) {
    const auto fits = [&job](const std::string& pattern) { return is_named(job, pattern); };
    return std::ranges::none_of(patterns, fits);
  });
  return jobs;
}

Result<std::vector<AheadProgram>> run_jobs(const std::vector<AheadJob>& jobs, int threads,
                                           const AheadProgress& progress,
                                           const CompileJob& compile) {
  JobQueue queue(jobs, progress, compile);
  std::vector<std::thread> others;
  const size_t wanted = std::min(static_cast<size_t>(std::max(threads, 1)), jobs.size());
  try {
    while (others.size() + 1 < wanted) others.emplace_back([&queue] { queue.work(); });
  } catch (const std::system_error&) {
    // The system gives no more threads: those that there are do the work.
  }
  queue.work();
  for (std::thread& thread : others) thread.join();
  return std::move(queue).result();
}

}  // namespace dunlin::pjrt
