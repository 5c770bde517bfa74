// Keeper: a thread that does what the run loop must not wait for, in order: reading pages of the next
// layer ahead, giving pages back, locking others.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/result.h"

namespace dunlin::cpu {

struct KeeperJob {
  enum class Kind : uint8_t { read_group, drop_group, drop_expert, repin };

  Kind kind = Kind::repin;
  int32_t number = 0;  // of the group, or of the experts' layer
  int32_t expert = 0;
};

class Keeper {
 public:
  // Calls `work` for each job, from the thread. `capacity`: jobs that may wait at a time, at least 1.
  // An error (kind runtime) where the system refuses a thread.
  static Result<std::unique_ptr<Keeper>> create(size_t capacity,
                                                std::function<void(const KeeperJob&)> work);
  // Jobs that still wait are not done.
  ~Keeper();
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

  // False, and nothing will be done, when too many wait. Allocates nothing.
  bool post(const KeeperJob& job) noexcept;
  // Waits until all posted jobs are done.
  void settle();

 private:
  Keeper(size_t capacity, std::function<void(const KeeperJob&)> work);
  void work_off();

  std::function<void(const KeeperJob&)> work_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<KeeperJob> ring_;
  size_t first_ = 0;  // of the jobs that wait
  size_t waiting_ = 0;
  bool busy_ = false;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace dunlin::cpu
