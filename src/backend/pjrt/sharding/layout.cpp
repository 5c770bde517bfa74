#include "backend/pjrt/sharding/layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "program/sharding.h"

namespace dunlin::pjrt {
namespace {

// Appends an axis that nothing splits.
void append_plain(AxisList& axes, int64_t size) {
  if (size == 1) return;
  if (!axes.empty() && axes.back().axis == Axis::head_dim) {
    axes.back().size *= size;
  } else {
    axes.push_back({Axis::head_dim, size});
  }
}

}  // namespace

Result<void> check_axes(const MeshShape& shape) {
  const std::array<std::pair<const char*, int64_t>, 3> others = {
      {{"stage", shape.stage}, {"fsdp", shape.fsdp}, {"width", shape.width}}};
  for (const auto& [name, size] : others) {
    if (size == 1) continue;
    return usage_error(
        fmt::format("mesh {}: the pjrt back end splits over data, expert and model, not over {}",
                    to_string(shape), name));
  }
  return {};
}

std::vector<MeshAxis> split_axes(const Mesh& mesh, const AxisList& dim) {
  std::vector<MeshAxis> axes;
  for (const AxisSize& each : dim) {
    for (const MeshAxis axis : mesh_axes(each.axis)) {
      if (mesh.size(axis) > 1) axes.push_back(axis);
    }
  }
  return axes;
}

AxisList canonical(const Mesh& mesh, const AxisList& axes) {
  AxisList result;
  bool split = false;
  for (const AxisSize& axis : axes) {
    if (parts(mesh, axis.axis) == 1) {
      append_plain(result, axis.size);
    } else {
      result.push_back(axis);
      split = true;
    }
  }
  return split ? result : AxisList();
}

Layout canonical_layout(const Mesh& mesh, const std::vector<AxisList>& dims) {
  std::array<bool, kMeshAxes> used{};
  Layout layout;
  for (const AxisList& dim : dims) {
    AxisList kept;
    for (const AxisSize& axis : dim) {
      const std::vector<MeshAxis> wanted = split_axes(mesh, {axis});
      const bool free = std::ranges::none_of(
          wanted, [&used](MeshAxis each) { return used[static_cast<size_t>(each)]; });
      kept.push_back(free ? axis : AxisSize{Axis::head_dim, axis.size});
      if (!free) continue;
      for (const MeshAxis each : wanted) used[static_cast<size_t>(each)] = true;
    }
    layout.push_back(canonical(mesh, kept));
  }
  return layout;
}

Layout whole_layout(size_t rank) {
  return Layout(rank);
}

bool is_whole(const Layout& layout) {
  return std::ranges::all_of(layout, [](const AxisList& dim) { return dim.empty(); });
}

Layout key_layout(const Mesh& mesh, int64_t kv_heads) {
  Layout layout = whole_layout(3);
  if (kv_heads % mesh.size(MeshAxis::kv) == 0)
    layout[1] = canonical(mesh, {{Axis::kv_heads, kv_heads}});
  return layout;
}

Layout query_layout(const Mesh& mesh, int64_t heads, int64_t kv_heads) {
  const bool divides = kv_heads % mesh.size(MeshAxis::kv) == 0;
  Layout layout = whole_layout(3);
  layout[1] = canonical(mesh, {{divides ? Axis::kv_heads : Axis::head_dim, kv_heads},
                               {Axis::q_group, heads / kv_heads}});
  return layout;
}

Shape local_dims(const Sharding& sharding, const Layout& layout, Shape dims) {
  for (size_t i = 0; i < dims.size(); ++i) {
    if (!layout[i].empty()) dims[i] = shard_extent(sharding.mesh, layout[i], sharding.ffn_unit);
  }
  return dims;
}

WeightDeclaration declaration_of(const WeightDeclaration& declaration, const Layout& layout) {
  WeightDeclaration result = declaration;
  for (size_t i = 0; i < layout.size(); ++i) {
    result.dims[i] =
        layout[i].empty() ? AxisList{{Axis::head_dim, extent(declaration.dims[i])}} : layout[i];
  }
  return result;
}

}  // namespace dunlin::pjrt
