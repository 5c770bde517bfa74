#include "engine/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace dunlin {

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase_if(stops_, [](const std::string& stop) { return stop.empty(); });
}

StopMatcher::Output StopMatcher::feed(std::string_view piece) {
  if (stopped_) return {};
  pending_ += piece;
  size_t found = std::string::npos;
  for (const std::string& stop : stops_) found = std::min(found, pending_.find(stop));
  if (found != std::string::npos) {
    Output output{pending_.substr(0, found), true};
    pending_.clear();
    stopped_ = true;
    return output;
  }
  const size_t certain = pending_.size() - held_back();
  Output output{pending_.substr(0, certain), false};
  pending_.erase(0, certain);
  return output;
}

std::string StopMatcher::flush() {
  return std::exchange(pending_, {});
}

// The longest end of the pending text that begins a stop string.
size_t StopMatcher::held_back() const {
  size_t longest = 0;
  for (const std::string& stop : stops_) {
    for (size_t length = std::min(stop.size() - 1, pending_.size()); length > longest; --length) {
      if (std::string_view(pending_).ends_with(std::string_view(stop).substr(0, length)))
        longest = length;
    }
  }
  return longest;
}

}  // namespace dunlin
