#include "backend/cpu/keeper.h"

#include <algorithm>
#include <string>
#include <system_error>
#include <utility>

namespace dunlin::cpu {

Keeper::Keeper(size_t capacity, std::function<void(const KeeperJob&)> work)
    : work_(std::move(work)), ring_(std::max<size_t>(1, capacity)) {}

Result<std::unique_ptr<Keeper>> Keeper::create(size_t capacity,
                                               std::function<void(const KeeperJob&)> work) {
  std::unique_ptr<Keeper> keeper(new Keeper(capacity, std::move(work)));
  try {
    keeper->thread_ = std::thread([self = keeper.get()] { self->work_off(); });
  } catch (const std::system_error& error) {
    return runtime_error(std::string("--offload: no thread to read weights with: ") + error.what());
  }
  return keeper;
}

Keeper::~Keeper() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool Keeper::post(const KeeperJob& job) noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (waiting_ == ring_.size()) return false;
    ring_[(first_ + waiting_) % ring_.size()] = job;
    ++waiting_;
  }
  changed_.notify_all();
  return true;
}

void Keeper::settle() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return waiting_ == 0 && !busy_; });
}

void Keeper::work_off() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stop_ || waiting_ > 0; });
    if (stop_) return;
    const KeeperJob job = ring_[first_];
    first_ = (first_ + 1) % ring_.size();
    --waiting_;
    busy_ = true;
    lock.unlock();
    work_(job);
    lock.lock();
    busy_ = false;
    if (waiting_ == 0) changed_.notify_all();
  }
}

}  // namespace dunlin::cpu
