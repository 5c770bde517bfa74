#include "program/shares.h"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>

#include "program/sharding.h"

namespace dunlin {

namespace {

// Elements [begin, end) of an axis, in a part of `extent`.
struct AxisPart {
  int64_t begin, end, extent;
};

AxisPart axis_part(const Sharding& sharding, const Coordinates& place, const AxisSize& axis) {
  if (parts(sharding.mesh, axis.axis) == 1) return {0, axis.size, axis.size};
  const int64_t extent = axis_extent(sharding.mesh, axis, sharding.ffn_unit);
  const int64_t index = place_on(sharding.mesh, place, mesh_axes(axis.axis));
  const int64_t begin = std::min(axis.size, index * extent);
  return {begin, std::min(axis.size, begin + extent), extent};
}

std::string axes_text(const Mesh& mesh, const std::array<int64_t, kMeshAxes>& numbers) {
  std::string text;
  for (size_t i = 0; i < kMeshAxes; ++i) {
    if (mesh.sizes[i] == 1) continue;
    text += fmt::format("{}{}={}", text.empty() ? "" : ",",
                        mesh_axis_name(static_cast<MeshAxis>(i)), numbers[i]);
  }
  return text.empty() ? "all" : text;
}

}  // namespace

Coordinates coordinates_of(const Mesh& mesh, int64_t device) {
  Coordinates place{};
  for (size_t i = kMeshAxes; i-- > 0; device /= mesh.sizes[i]) place[i] = device % mesh.sizes[i];
  return place;
}

int64_t device_at(const Mesh& mesh, const Coordinates& place) {
  int64_t device = 0;
  for (size_t i = 0; i < kMeshAxes; ++i) device = device * mesh.sizes[i] + place[i];
  return device;
}

int64_t place_on(const Mesh& mesh, const Coordinates& place, const std::vector<MeshAxis>& axes) {
  int64_t index = 0;
  for (const MeshAxis axis : axes)
    index = index * mesh.size(axis) + place[static_cast<size_t>(axis)];
  return index;
}

int64_t shard_count(const Mesh& mesh) {
  static_assert(static_cast<size_t>(MeshAxis::data) == 0, "the outermost axis changes slowest");
  return mesh.devices() / mesh.size(MeshAxis::data);
}

std::string to_string(const Mesh& mesh, const Coordinates& place) {
  return axes_text(mesh, place);
}

std::string to_string(const Mesh& mesh) {
  return axes_text(mesh, mesh.sizes);
}

IndexRuns dimension_share(const Sharding& sharding, const Coordinates& place,
                          const AxisList& axes) {
  IndexRuns share = IndexRuns::all(1);
  int64_t whole = 1;  // elements of the axes that are done, from the innermost
  for (const AxisSize& axis : std::views::reverse(axes)) {
    const AxisPart part = axis_part(sharding, place, axis);
    std::vector<IndexRun> runs;
    if (share.is_all_of(whole)) {
      if (part.end > part.begin)
        runs.push_back({0, part.begin * whole, (part.end - part.begin) * whole});
    } else {
      for (int64_t i = part.begin; i < part.end; ++i) {
        for (const IndexRun& run : share.runs) {
          append_run(runs,
                     {(i - part.begin) * share.extent + run.at, i * whole + run.begin, run.count});
        }
      }
    }
    share = {.extent = share.extent * part.extent, .runs = std::move(runs)};
    whole *= axis.size;
  }
  return share;
}

std::vector<std::vector<int64_t>> weight_stages(const Program& program, int64_t stages) {
  const std::vector<int64_t> of_node = node_stages(program, stages);
  std::vector<std::vector<int64_t>> of_weight(program.weights.size());
  for (size_t i = 0; i < program.nodes.size(); ++i) {
    for (const ValueId operand : program.nodes[i].operands) {
      const Value& value = program.values[static_cast<size_t>(operand)];
      if (value.kind != Value::Kind::weight) continue;
      std::vector<int64_t>& found = of_weight[static_cast<size_t>(value.weight)];
      if (std::ranges::find(found, of_node[i]) == found.end()) found.push_back(of_node[i]);
    }
  }
  for (std::vector<int64_t>& each : of_weight) std::ranges::sort(each);
  return of_weight;
}

}  // namespace dunlin
