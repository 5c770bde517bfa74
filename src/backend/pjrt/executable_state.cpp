// What an executable does with a KV state beside its steps: making it, copying pages, and putting zeros
// where a sequence left what may be no numbers.
#include <fmt/format.h>

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "backend/pjrt/executable.h"
#include "backend/pjrt/run_on_state.h"

namespace dunlin::pjrt {
namespace {

// Arguments of a program that takes arrays of the state and one list.
std::vector<std::vector<BufferId>> no_others(size_t devices) {
  return std::vector<std::vector<BufferId>>(devices);
}

}  // namespace

Result<std::unique_ptr<KvState>> PjrtExecutable::make_kv_state(
    const std::vector<int64_t>& pages_per_group) {
  if (pages_per_group.size() != program_.kv_groups.size()) {
    return runtime_error(fmt::format("KV state: page counts for {} groups, but the model has {}",
                                     pages_per_group.size(), program_.kv_groups.size()));
  }
  std::vector<KvGroupShape> asked;
  std::vector<KvGroupShape> shapes;
  std::vector<KvGroupShape> in_all;  // slots that pad the last parts included
  for (size_t i = 0; i < pages_per_group.size(); ++i) {
    const int64_t each = planner_.pages_per_slot(static_cast<int32_t>(i));
    if (pages_per_group[i] < 0 || pages_per_group[i] % each != 0) {
      return runtime_error(fmt::format("KV state: {} pages in group {}, which has {} for each slot",
                                       pages_per_group[i], i, each));
    }
    const int64_t slots = pages_per_group[i] / each;
    asked.push_back({slots, each * kPageTokens});
  }
  DUNLIN_RETURN_IF_ERROR(kv_bytes_f32(program_, asked));  // from here on no size overflows
  for (const KvGroupShape& group : asked) {
    shapes.push_back({planner_.slots_of_part(group.slots), group.positions});
    in_all.push_back({planner_.parts() * shapes.back().slots, group.positions});
  }
  DUNLIN_RETURN_IF_ERROR(kv_bytes_f32(program_, in_all));
  const LoweringOptions& lowering = compiler_->lowering();
  const std::vector<TensorType> types = state_types(program_, shapes, lowering);
  auto arrays = make_arrays(types);
  if (!arrays.ok()) return arrays.error().with_context("KV state");
  std::vector<size_t> first_array{0};
  for (const KvGroup& group : program_.kv_groups) {
    const int64_t count = arrays_of_group(group, lowering.platform);
    first_array.push_back(first_array.back() + static_cast<size_t>(count));
  }
  return std::unique_ptr<KvState>(std::make_unique<PjrtKvState>(pages_per_group, std::move(shapes),
                                                                types, std::move(arrays).value(),
                                                                std::move(first_array)));
}

// Of zeros, which the devices make: nothing of the size of a cache is sent to them.
Result<std::vector<PjrtExecutable::Buffers>> PjrtExecutable::make_arrays(
    const std::vector<TensorType>& types) {
  std::vector<Buffers> arrays(devices());
  size_t next = 0;
  for (size_t group = 0; group < program_.kv_groups.size(); ++group) {
    const int64_t count =
        arrays_of_group(program_.kv_groups[group], compiler_->lowering().platform);
    for (int64_t i = 0; i < count; ++i) {
      const TensorType& type = types[next++];
      if (sharding_ == nullptr) {
        DUNLIN_ASSIGN_OR_RETURN(Buffer array, compiler_->zeros(type));
        arrays.front().push_back(std::move(array));
        continue;
      }
      DUNLIN_ASSIGN_OR_RETURN(Buffers zeros,
                              compiler_->zeros(type, static_cast<int32_t>(group), places_));
      for (size_t device = 0; device < devices(); ++device)
        arrays[device].push_back(std::move(zeros[device]));
    }
  }
  return arrays;
}

Result<void> PjrtExecutable::copy_page(const PageMove& move, PjrtKvState& state) {
  const auto each = static_cast<int32_t>(state.pages_per_slot(move.group));
  const auto parts = static_cast<int32_t>(planner_.parts());
  const int32_t from = move.from / each;
  const int32_t to = move.to / each;
  const std::vector<int32_t> places = {from / parts, move.from % each * kPageTokens, to / parts,
                                       move.to % each * kPageTokens};
  std::vector<std::vector<int32_t>> lists;
  for (int32_t part = 0; part < parts; ++part) {
    lists.push_back(places);
    if (sharding_ == nullptr) continue;
    lists.back().push_back(from % parts);
    lists.back().push_back(to % parts == part ? 1 : 0);
  }
  DUNLIN_ASSIGN_OR_RETURN(const LoadedProgram* program,
                          compiler_->page_copy(types_of_group(state, move.group), move.group));
  DUNLIN_ASSIGN_OR_RETURN(const Buffers step, upload_lists(lists));
  const auto rest = run_on_state(*program, no_others(devices()), state_of_group(state, move.group),
                                 step, /*outputs=*/0);
  if (!rest.ok()) return rest.error();
  // A sequence begins there. What another one left may lie on any side of the pages of its window.
  int32_t& end = state.doubtful_end(to);
  end = end > 0 ? PjrtKvState::kAnywhere : state.doubtful_end(from);
  return {};
}

// What a slot holds behind its sequence is no longer seen, but still multiplied, by probabilities of 0:
// a NaN that another sequence left there would be one for this one, too.
Result<void> PjrtExecutable::clear_behind(const std::vector<LaunchPlanner::Holding>& holdings,
                                          PjrtKvState& state) {
  for (const LaunchPlanner::Holding& it : holdings) {
    int32_t& end = state.doubtful_end(it.slot);
    if (end > it.length) DUNLIN_RETURN_IF_ERROR(clear_places(it, state));
    end = it.longest;
  }
  return {};
}

Result<void> PjrtExecutable::clear_places(const LaunchPlanner::Holding& holding,
                                          PjrtKvState& state) {
  const auto parts = static_cast<int32_t>(planner_.parts());
  for (int32_t group = 0; group < state.groups(); ++group) {
    const auto index = static_cast<size_t>(group);
    const PlaceRange places =
        doubtful_places(holding, state.doubtful_end(holding.slot), state.shapes()[index].positions,
                        program_.kv_groups[index].window);
    if (places.count == 0) continue;
    std::vector<std::vector<int32_t>> lists;
    for (int32_t part = 0; part < parts; ++part) {
      lists.push_back(
          {holding.slot / parts, places.first, places.count, holding.slot % parts == part ? 1 : 0});
    }
    DUNLIN_ASSIGN_OR_RETURN(const LoadedProgram* program,
                            compiler_->place_clear(types_of_group(state, group), group));
    DUNLIN_ASSIGN_OR_RETURN(const Buffers step, upload_lists(lists));
    const auto rest = run_on_state(*program, no_others(devices()), state_of_group(state, group),
                                   step, /*outputs=*/0);
    if (!rest.ok()) return rest.error();
  }
  return {};
}

}  // namespace dunlin::pjrt
