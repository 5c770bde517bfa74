#include "hub/download_queue.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

namespace dunlin {
namespace {

// A single connection to the hub rarely fills the line; huggingface_hub takes eight.
constexpr size_t kConnections = 4;

class Queue {
 public:
  Queue(const std::vector<QueuedDownload>& downloads, const HttpOptions& http)
      : downloads_(downloads), http_(http) {
    http_.cancelled = [this, asked = http.cancelled] { return stop_ || (asked && asked()); };
  }

  Result<void> run(const std::function<void(int64_t)>& progress) {
    std::vector<std::jthread> threads;
    const size_t count = std::min(kConnections, downloads_.size());
    running_ = count;  // the first may have ended before the last is there
    for (size_t i = 0; i < count; ++i) threads.emplace_back([this] { work(); });
    std::unique_lock lock(mutex_);
    while (running_ > 0) {
      ended_.wait_for(lock, std::chrono::milliseconds(100));
      progress(arrived_);
    }
    progress(arrived_);  // all may have ended before the first wait
    if (error_) return *error_;
    return {};
  }

 private:
  void work() {
    const Result<void> result = work_off();
    const std::lock_guard lock(mutex_);
    if (!result.ok() && !error_) error_ = result.error();
    if (!result.ok()) stop_ = true;
    --running_;
    ended_.notify_all();
  }

  Result<void> work_off() {
    DUNLIN_ASSIGN_OR_RETURN(HttpClient client, HttpClient::create(http_));
    const BytesArrived arrived = [this](int64_t bytes) { arrived_ += bytes; };
    for (size_t i = next_++; i < downloads_.size(); i = next_++) {
      DUNLIN_RETURN_IF_ERROR(
          download(client, downloads_[i].what, downloads_[i].refused, http_.cancelled, arrived));
    }
    return {};
  }

  const std::vector<QueuedDownload>& downloads_;
  HttpOptions http_;
  std::atomic<size_t> next_ = 0;
  std::atomic<int64_t> arrived_ = 0;
  std::atomic<bool> stop_ = false;
  std::mutex mutex_;  // of what follows
  std::condition_variable ended_;
  size_t running_ = 0;
  std::optional<Error> error_ = {};
};

}  // namespace

Result<void> download_all(const std::vector<QueuedDownload>& downloads, const HttpOptions& http,
                          const std::function<void(int64_t bytes)>& progress) {
  if (downloads.empty()) return {};
  return Queue(downloads, http).run(progress);
}

}  // namespace dunlin
