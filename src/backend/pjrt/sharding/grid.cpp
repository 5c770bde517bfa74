#include "backend/pjrt/sharding/grid.h"

#include <map>
#include <string>

#include "program/sharding.h"

namespace dunlin::pjrt {
namespace {

std::vector<std::string> names_of(const Mesh& mesh, const std::vector<MeshAxis>& axes) {
  std::vector<std::string> names;
  for (const MeshAxis axis : axes) {
    if (mesh.size(axis) > 1) names.emplace_back(mesh_axis_name(axis));
  }
  return names;
}

std::vector<MeshAxis> all_axes() {
  std::vector<MeshAxis> axes;
  for (size_t i = 0; i < kMeshAxes; ++i) axes.push_back(static_cast<MeshAxis>(i));
  return axes;
}

}  // namespace

DeviceGrid grid_of(const Mesh& mesh) {
  DeviceGrid grid;
  for (const MeshAxis axis : all_axes()) {
    if (mesh.size(axis) > 1) grid.axes.push_back({mesh_axis_name(axis), mesh.size(axis)});
  }
  return grid;
}

DeviceGroups device_groups(const Mesh& mesh, const std::vector<MeshAxis>& axes) {
  std::map<Coordinates, std::vector<int64_t>> by_others;
  for (int64_t device = 0; device < mesh.devices(); ++device) {
    Coordinates others = coordinates_of(mesh, device);
    for (const MeshAxis axis : axes) others[static_cast<size_t>(axis)] = 0;
    by_others[others].push_back(device);
  }
  DeviceGroups groups;
  for (const auto& [others, devices] : by_others) groups.push_back(devices);
  return groups;
}

Splits splits_of(const Mesh& mesh, const Layout& layout) {
  Splits splits;
  for (const AxisList& dim : layout) splits.push_back(names_of(mesh, split_axes(mesh, dim)));
  return splits;
}

Splits state_splits(const ProgramSharding& sharding, int32_t group) {
  const Layout& keys = sharding.keys[static_cast<size_t>(group)];
  Splits splits = splits_of(sharding.mesh(), {{}, keys[1], {}, {}});
  if (sharding.splits_batch) splits[0] = names_of(sharding.mesh(), batch_axes());
  return splits;
}

Splits per_device_splits(const Mesh& mesh) {
  return {names_of(mesh, all_axes())};
}

Splits output_splits(const ProgramSharding& sharding, const Layout& layout, const Dims& dims) {
  Splits splits = splits_of(sharding.mesh(), layout);
  const bool of_batch = !dims.empty() && !dims.front().known();
  if (of_batch && sharding.splits_batch) splits[0] = names_of(sharding.mesh(), batch_axes());
  return splits;
}

Splits chosen_splits(const ProgramSharding& sharding) {
  if (!sharding.splits_batch) return {{}, {}};
  return {{}, names_of(sharding.mesh(), batch_axes())};
}

}  // namespace dunlin::pjrt
