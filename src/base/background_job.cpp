#include "base/background_job.h"

#include <sys/resource.h>

#include <algorithm>
#include <string>
#include <system_error>

namespace dunlin {
namespace {

// Where others keep all processors busy, a thread of this niceness has about a tenth of what one of them
// has (a weight of 110 to 1024); where one is idle, it has that one.
constexpr int kNiceness = 10;

// Linux keeps the niceness of each thread, and 0 names the calling one (setpriority(2), "C library/kernel
// differences"). A thread that is nicer already stays so. Advice: nothing depends on it.
void step_back() {
  const int now = ::getpriority(PRIO_PROCESS, 0);
  (void)::setpriority(PRIO_PROCESS, 0, std::max(now, kNiceness));
}

}  // namespace

Result<std::unique_ptr<BackgroundJob>> BackgroundJob::start(Work work) {
  std::unique_ptr<BackgroundJob> job(new BackgroundJob(std::move(work)));
  try {
    job->thread_ = std::thread([self = job.get()] { self->run(); });
  } catch (const std::system_error& error) {
    return runtime_error(std::string("no thread for it: ") + error.what());
  }
  return job;
}

BackgroundJob::~BackgroundJob() {
  stop();
  if (thread_.joinable()) thread_.join();
}

bool BackgroundJob::wait_for(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, time, [this] { return over_; });
}

void BackgroundJob::run() {
  step_back();
  work_(stop_);
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  changed_.notify_all();
}

}  // namespace dunlin
