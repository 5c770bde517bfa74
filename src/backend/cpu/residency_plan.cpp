#include "backend/cpu/residency_plan.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>

namespace dunlin::cpu {

namespace {

class ResidencyPlanner {
 public:
  ResidencyPlanner(std::span<const GroupSize> groups, int64_t budget)
      : groups_(groups), budget_(budget), pinned_(groups.size(), false) {}

  // Each group outside of the layers that fits, the smallest first.
  void pin_between_layers() {
    std::vector<size_t> between;
    for (size_t i = 0; i < groups_.size(); ++i) {
      if (!groups_[i].layer) between.push_back(i);
    }
    std::ranges::sort(between, {}, [this](size_t i) { return std::pair(groups_[i].bytes, i); });
    for (const size_t i : between) {
      pinned_[i] = true;
      if (!fits()) pinned_[i] = false;
    }
  }

  void pin_layers() {
    std::vector<size_t> layers;
    for (size_t i = 0; i < groups_.size(); ++i) {
      if (groups_[i].layer) layers.push_back(i);
    }
    for (size_t count = layers.size(); count > 0; --count) {
      for (size_t i = 0; i < layers.size(); ++i) {
        const size_t before = i * count / layers.size();
        pinned_[layers[i]] = (i + 1) * count / layers.size() > before;
      }
      if (fits()) return;
    }
    for (const size_t i : layers) pinned_[i] = false;
  }

  bool fits() const { return pinned_bytes() + streaming_bytes() <= budget_; }

  int64_t pinned_bytes() const {
    int64_t bytes = 0;
    for (size_t i = 0; i < groups_.size(); ++i) bytes += pinned_[i] ? groups_[i].bytes : 0;
    return bytes;
  }

  // The most that two streamed groups have together, the first of a run following the last of the run
  // before.
  int64_t streaming_bytes() const {
    std::vector<int64_t> streamed;
    for (size_t i = 0; i < groups_.size(); ++i) {
      if (!pinned_[i]) streamed.push_back(groups_[i].bytes);
    }
    if (streamed.size() < 2) return std::accumulate(streamed.begin(), streamed.end(), int64_t{0});
    int64_t most = streamed.back() + streamed.front();
    for (size_t i = 0; i + 1 < streamed.size(); ++i)
      most = std::max(most, streamed[i] + streamed[i + 1]);
    return most;
  }

  const std::vector<bool>& pinned() const { return pinned_; }

 private:
  std::span<const GroupSize> groups_;
  int64_t budget_;
  std::vector<bool> pinned_;
};

}  // namespace

ResidencyPlan plan_residency(std::span<const GroupSize> groups, int64_t expert_bytes,
                             int64_t least_experts, int64_t budget) {
  const int64_t least = std::min(expert_bytes, least_experts);
  const int64_t for_dense = std::max<int64_t>(0, budget - least);
  ResidencyPlanner planner(groups, for_dense);
  planner.pin_between_layers();
  planner.pin_layers();
  ResidencyPlan plan;
  plan.pinned = planner.pinned();
  plan.pinned_bytes = planner.pinned_bytes();
  for (const GroupSize& group : groups) plan.streamed_bytes += group.bytes;
  plan.streamed_bytes -= plan.pinned_bytes;
  plan.streaming_bytes = planner.streaming_bytes();
  const int64_t left = for_dense - plan.pinned_bytes - plan.streaming_bytes;
  plan.expert_room = std::min(expert_bytes, least + std::max<int64_t>(0, left));
  return plan;
}

}  // namespace dunlin::cpu
