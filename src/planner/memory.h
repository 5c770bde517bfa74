// What a device of a mesh holds: weights where they lie, keys and values, live values, workspace.
#pragma once

#include <cstdint>
#include <functional>

#include "base/result.h"
#include "planner/walk.h"

namespace dunlin {

// Bytes of the fullest device.
struct DeviceMemory {
  int64_t weights = 0;
  int64_t kv = 0;           // of full contexts
  int64_t activations = 0;  // values that live at the same time in the largest step
  int64_t workspace = 0;    // see accelerator_memory()
  int64_t process = 0;  // of the program itself and what it keeps of the checkpoint; a CPU's only

  int64_t total() const { return weights + kv + activations + workspace + process; }
};

// What a replica is to hold at once.
struct Capacity {
  int64_t sequences = 1;
  int64_t context = 4096;  // positions of each
  int64_t rows = 512;      // of the largest step: the chunk of a prompt
  int64_t logit_rows = 0;  // of such a step; 0: one for each sequence

  StepLimits limits() const {
    return {.rows = rows > sequences ? rows : sequences,
            .logit_rows = logit_rows > 0 ? logit_rows : sequences,
            .sequences = sequences,
            .context = context};
  }
};

// For a device whose back end is XLA. Live values are of 16 bits but for logits (float32). Workspace
// is the larger of
//   the scores of one attention, float32: without a fused kernel they are written out, and
//   two gathered layers' largest weights under fsdp, one in use while the next arrives.
// Both come on top of the values of that moment.
DeviceMemory accelerator_memory(const ShardedModel& sharded, const Capacity& capacity);

// The largest number in [0, most] for which `fits` holds, when it holds for all smaller ones.
int64_t largest_fitting(int64_t most, const std::function<bool(int64_t)>& fits);

}  // namespace dunlin
