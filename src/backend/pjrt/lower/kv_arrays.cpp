// The KV cache as arrays of a device: which there are, and how they lie in its memory.
//
// A TPU stores the two minor dimensions of an array in tiles: rows of 128 lanes, 8 at a time, 16 of
// bf16. With rows of 128 and positions next to them nothing is padded, a position is written where it
// lies, and the products of attention read it as it is. So rows are made 128 wide, and all programs
// say that arrays are row-major: a compiler that may choose chooses for each program on its own.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "backend/pjrt/lower/lower.h"
#include "backend/pjrt/sharding/grid.h"
#include "backend/pjrt/stablehlo/builder.h"

namespace dunlin::pjrt {
namespace {

constexpr int64_t kTpuLanes = 128;

// Dimensions from minor to major, as XLA writes layouts: "{3,2,1,0}".
std::string row_major(const TensorType& type) {
  Axes axes(type.dims.size());
  std::iota(axes.rbegin(), axes.rend(), 0);
  return fmt::format("{{{}}}", fmt::join(axes, ","));
}

}  // namespace

bool keys_beside_values(int64_t head_dim, Platform platform) {
  const bool has_lanes = platform == Platform::tpu || platform == Platform::cpu;
  return has_lanes && 2 * head_dim <= kTpuLanes;
}

int64_t arrays_of_group(const KvGroup& group, Platform platform) {
  return (keys_beside_values(group.head_dim, platform) ? 1 : 2) * group.layers;
}

std::vector<TensorType> state_types(const Program& program, const std::vector<KvGroupShape>& groups,
                                    const LoweringOptions& options) {
  const ProgramSharding* const sharding = options.sharding.get();
  std::vector<TensorType> types;
  for (size_t i = 0; i < program.kv_groups.size(); ++i) {
    const KvGroup& group = program.kv_groups[i];
    int64_t kv_heads = group.kv_heads;
    if (sharding != nullptr) kv_heads = sharding->local(sharding->keys[i], {1, kv_heads, 1})[1];
    const bool together = keys_beside_values(group.head_dim, options.platform);
    const int64_t width = together ? 2 * group.head_dim : group.head_dim;
    const TensorType type{kv_element(options.precision),
                          {groups[i].slots, kv_heads, groups[i].positions, width}};
    types.insert(types.end(), static_cast<size_t>(arrays_of_group(group, options.platform)), type);
  }
  return types;
}

std::string kv_attributes(const TensorType& type, const LoweringOptions& options,
                          std::optional<size_t> alias) {
  std::string list;
  if (options.pins_layout) list = fmt::format("mhlo.layout_mode = \"{}\"", row_major(type));
  if (alias) {
    list += fmt::format("{}tf.aliasing_output = {} : i32", list.empty() ? "" : ", ", *alias);
  }
  return list.empty() ? list : fmt::format("{{{}}}", list);
}

std::vector<std::string> kv_attributes(const std::vector<TensorType>& types,
                                       const LoweringOptions& options) {
  std::vector<std::string> attributes;
  for (const TensorType& type : types) attributes.push_back(kv_attributes(type, options));
  return attributes;
}

std::string zeros_text(const TensorType& type, const LoweringOptions& options, int32_t group) {
  const std::vector<std::string> attributes = {kv_attributes(type, options)};
  if (options.sharding == nullptr) {
    Builder b;
    return b.finish({b.constant(type, 0.0)}, {}, attributes);
  }
  const ProgramSharding& sharding = *options.sharding;
  Builder b(grid_of(sharding.mesh()));
  b.argument(place_type(), "", per_device_splits(sharding.mesh()));
  return b.finish({b.constant(type, 0.0)}, {state_splits(sharding, group)}, attributes);
}

}  // namespace dunlin::pjrt
