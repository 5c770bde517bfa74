// Memory that runs out on demand: this binary's operator new and malloc fail at the n-th call.
#pragma once

#include <cstdint>

namespace dunlin {

enum class FailMode : uint8_t {
  once,     // the n-th call fails, later ones succeed
  onwards,  // the n-th call and all later ones fail
};

// From now on, in every thread. Calls are counted from 1; 0 only counts.
void arm_allocator(int64_t n, FailMode mode);
// Back to normal; returns the calls since arm_allocator().
int64_t disarm_allocator();

// Blocks that are allocated and not yet given back.
int64_t live_blocks();

}  // namespace dunlin
