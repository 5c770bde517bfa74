#include "planner/paging.h"

#include <algorithm>

namespace dunlin {

void add_paging(const Paging& paging, StepTime& step) {
  const Residency& residency = paging.residency;
  const auto dense = static_cast<double>(residency.reread_bytes());
  const auto all = static_cast<double>(residency.expert_bytes);
  const auto room = static_cast<double>(residency.expert_room_bytes);
  const double missed = all > 0 ? step.expert_bytes * std::max(0.0, 1 - room / all) : 0;
  step.disk_bytes = dense + std::max(0.0, step.expert_bytes - room);
  if (paging.bytes_per_second <= 0) return;
  step.disk_seconds = step.disk_bytes / paging.bytes_per_second;
  const double others =
      std::max({step.compute_seconds, step.memory_seconds, step.interconnect_seconds});
  if (step.disk_seconds > others) step.bound = Bound::disk;
  step.best_seconds = std::max(step.best_seconds, step.disk_seconds);
  step.expected_seconds = std::max(step.expected_seconds, dense / paging.bytes_per_second) +
                          missed / paging.bytes_per_second;
}

}  // namespace dunlin
