#include "backend/profile.h"

#include "base/check.h"

namespace dunlin {

// A run has one event at least.
Profile::Profile(size_t most_events) {
  runs_.reserve(most_events);
  events_.reserve(most_events);
}

bool Profile::begin_run(const ProfiledRun& run, size_t events) noexcept {
  const bool fits =
      runs_.size() < runs_.capacity() && events <= events_.capacity() - events_.size();
  if (fits) {
    runs_.push_back(run);
  } else {
    ++lost_runs_;
  }
  return fits;
}

void Profile::add(const ProfileEvent& event) noexcept {
  DUNLIN_CHECK(events_.size() < events_.capacity(), "more events than a run announced");
  events_.push_back(event);
}

void Profile::clear() noexcept {
  runs_.clear();
  events_.clear();
  lost_runs_ = 0;
}

}  // namespace dunlin
