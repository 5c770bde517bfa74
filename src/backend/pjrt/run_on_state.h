// Programs that take KV arrays, donated, and give them back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "backend/pjrt/client/client.h"
#include "backend/pjrt/kv_state.h"

namespace dunlin::pjrt {

// Arrays [first, last) of the state on every device.
struct StateRange {
  std::vector<PjrtKvState::Arrays>& devices;
  size_t first;
  size_t last;
};

StateRange state_of_group(PjrtKvState& state, int32_t group);
std::vector<TensorType> types_of_group(const PjrtKvState& state, int32_t group);

// Runs a program that takes arrays of the state behind the arguments `before` of each device, donated,
// and then `after`; it returns the arrays first. Gives the `outputs` results behind them, by device.
// After an error the arrays are gone.
Result<std::vector<std::vector<Buffer>>> run_on_state(const LoadedProgram& program,
                                                      std::vector<std::vector<BufferId>> before,
                                                      const StateRange& state,
                                                      const std::vector<Buffer>& after,
                                                      size_t outputs);

}  // namespace dunlin::pjrt
