// Where every value of a Program lies in one block of memory, planned once for the largest step.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/api.h"
#include "backend/cpu/fuse.h"

namespace dunlin::cpu {

// The largest sizes that a step within the limits gives to the symbols.
SymbolSizes largest_sizes(const StepLimits& limits);

int64_t element_count(const Dims& dims, const SymbolSizes& sizes);

struct MemoryPlan {
  // By value: bytes from the start of the block, a multiple of 64 but for slices; -1 where a value
  // has no memory of its own: weights, and sums that a fused step never stores.
  std::vector<int64_t> offsets;
  int64_t bytes = 0;
};

// Two values share memory when no step needs both, when one is a view of the other, or when a step
// may write its result over an operand that nothing reads afterwards. Inputs and outputs keep
// theirs for the whole step, and so does everything where `reuse` is false.
MemoryPlan plan_memory(const Program& program, const std::vector<FusedStep>& steps,
                       const StepLimits& limits, bool reuse = true);

}  // namespace dunlin::cpu
