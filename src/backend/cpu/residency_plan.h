// What of the weights stays in memory when not all of them fit.
//
// First the dense weights, which every token reads: those outside of the layers, then whole layers. What
// they leave is for experts. Where the dense weights alone are too many, the layers that stay are spread
// evenly between those that are streamed, so that the next one to be read has the time of several.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace dunlin::cpu {

// Dense weights that steps in a row read: those of a layer, or of what is between layers.
struct GroupSize {
  bool layer = false;
  int64_t bytes = 0;
};

struct ResidencyPlan {
  // By group; the others are streamed, each read while the one before it computes.
  std::vector<bool> pinned = {};
  int64_t pinned_bytes = 0;
  int64_t streamed_bytes = 0;
  int64_t streaming_bytes = 0;  // of these, the most that are in memory at a time
  int64_t expert_room = 0;      // bytes of experts that may be held
};

// `expert_bytes`: of all experts. `least_experts`: of those that a token needs in one layer, for which
// there is always room. Two streamed groups that follow each other are in memory at a time. A budget
// that is smaller than these and the experts of a token pins nothing and is exceeded.
ResidencyPlan plan_residency(std::span<const GroupSize> groups, int64_t expert_bytes,
                             int64_t least_experts, int64_t budget);

}  // namespace dunlin::cpu
