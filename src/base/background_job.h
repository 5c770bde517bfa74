// BackgroundJob: one piece of work on a thread of its own, behind whoever else wants the processors.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "base/result.h"

namespace dunlin {

class BackgroundJob {
 public:
  // Looks at `stop` now and then, and returns soon once it is set. Throws nothing.
  using Work = std::function<void(const std::atomic<bool>& stop)>;

  // Begins the work. An error (kind runtime) where the system refuses a thread.
  static Result<std::unique_ptr<BackgroundJob>> start(Work work);
  // Stops the work and waits until it has returned.
  ~BackgroundJob();
  BackgroundJob(const BackgroundJob&) = delete;
  BackgroundJob& operator=(const BackgroundJob&) = delete;

  // Asks the work to return; does not wait.
  void stop() { stop_ = true; }
  // Waits, for so long at most. True: the work has returned, and what it wrote can be read.
  bool wait_for(std::chrono::milliseconds time);

 private:
  explicit BackgroundJob(Work work) : work_(std::move(work)) {}
  void run();

  Work work_;
  std::atomic<bool> stop_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  std::thread thread_;
};

}  // namespace dunlin
