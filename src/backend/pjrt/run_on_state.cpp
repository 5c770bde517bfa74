#include "backend/pjrt/run_on_state.h"

#include <utility>

namespace dunlin::pjrt {

StateRange state_of_group(PjrtKvState& state, int32_t group) {
  return {state.devices(), state.first_array(group), state.last_array(group)};
}

std::vector<TensorType> types_of_group(const PjrtKvState& state, int32_t group) {
  const auto begin = state.types().begin();
  return {begin + static_cast<std::ptrdiff_t>(state.first_array(group)),
          begin + static_cast<std::ptrdiff_t>(state.last_array(group))};
}

Result<std::vector<std::vector<Buffer>>> run_on_state(const LoadedProgram& program,
                                                      std::vector<std::vector<BufferId>> before,
                                                      const StateRange& state,
                                                      const std::vector<Buffer>& after,
                                                      size_t outputs) {
  for (size_t device = 0; device < before.size(); ++device) {
    for (size_t i = state.first; i < state.last; ++i)
      before[device].push_back(state.devices[device][i].id());
    before[device].push_back(after[device].id());
  }
  auto results = program.execute(before, state.last - state.first + outputs);
  // Donated or not, the old handles are of no more use; what was written is in the new ones.
  for (PjrtKvState::Arrays& arrays : state.devices) {
    for (size_t i = state.first; i < state.last; ++i) arrays[i] = Buffer();
  }
  if (!results.ok()) return results.error();
  for (size_t device = 0; device < before.size(); ++device) {
    std::vector<Buffer>& values = (*results)[device];
    for (size_t i = state.first; i < state.last; ++i)
      state.devices[device][i] = std::move(values[i - state.first]);
    values.erase(values.begin(),
                 values.begin() + static_cast<std::ptrdiff_t>(state.last - state.first));
  }
  return std::move(results).value();
}

}  // namespace dunlin::pjrt
