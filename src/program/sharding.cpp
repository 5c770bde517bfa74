// The table, and the rounding that goes with it.
#include "program/sharding.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <numeric>
#include <string_view>

#include "base/check.h"

namespace dunlin {

namespace {

// The greatest common divisor of `model` and every number of kv heads: what all layers can share.
int64_t common_kv(const Program& program, int64_t model) {
  int64_t kv = model;
  for (const WeightDeclaration& weight : program.weights) {
    for (const AxisList& dim : weight.dims) {
      for (const AxisSize& axis : dim) {
        if (axis.axis == Axis::kv_heads) kv = std::gcd(kv, axis.size);
      }
    }
  }
  return kv;
}

bool must_divide(Axis axis) {
  return axis == Axis::embed || axis == Axis::experts;
}

Result<void> check_divides(const Program& program, const Mesh& mesh) {
  for (const WeightDeclaration& weight : program.weights) {
    for (const AxisList& dim : weight.dims) {
      for (const AxisSize& axis : dim) {
        const int64_t ways = parts(mesh, axis.axis);
        if (!must_divide(axis.axis) || axis.size % ways == 0) continue;
        return usage_error(fmt::format("mesh: {} has {} {}, which {} devices cannot share evenly",
                                       weight.name, axis.size, axis_name(axis.axis), ways));
      }
    }
  }
  return {};
}

}  // namespace

const std::vector<MeshAxis>& mesh_axes(Axis axis) {
  static const std::vector<MeshAxis> kModel = {MeshAxis::kv, MeshAxis::group};
  static const std::vector<MeshAxis> kWidth = {MeshAxis::width, MeshAxis::fsdp};
  static const std::vector<MeshAxis> kKv = {MeshAxis::kv};
  static const std::vector<MeshAxis> kGroup = {MeshAxis::group};
  static const std::vector<MeshAxis> kExpert = {MeshAxis::expert};
  static const std::vector<MeshAxis> kNone;
  switch (axis) {
    case Axis::vocab:
    case Axis::ffn:
      return kModel;
    case Axis::embed:
      return kWidth;
    case Axis::kv_heads:
      return kKv;
    case Axis::q_group:
      return kGroup;
    case Axis::experts:
      return kExpert;
    case Axis::head_dim:
      break;
  }
  return kNone;
}

const std::vector<MeshAxis>& batch_axes() {
  static const std::vector<MeshAxis> kBatch = {MeshAxis::data, MeshAxis::fsdp, MeshAxis::expert};
  return kBatch;
}

Result<Mesh> device_mesh(const Program& program, const MeshShape& shape) {
  Mesh mesh;
  const auto set = [&mesh](MeshAxis axis, int64_t size) {
    mesh.sizes[static_cast<size_t>(axis)] = size;
  };
  const int64_t kv = common_kv(program, shape.model);
  set(MeshAxis::data, shape.data);
  set(MeshAxis::stage, shape.stage);
  set(MeshAxis::fsdp, shape.fsdp);
  set(MeshAxis::expert, shape.expert);
  set(MeshAxis::width, shape.width);
  set(MeshAxis::kv, kv);
  set(MeshAxis::group, shape.model / kv);
  DUNLIN_RETURN_IF_ERROR(check_divides(program, mesh));
  const int64_t layers = layer_count(program);
  if (shape.stage > std::max<int64_t>(layers, 1)) {
    return usage_error(fmt::format("mesh: {} layers cannot fill {} stages", layers, shape.stage));
  }
  return mesh;
}

int64_t axis_extent(const Mesh& mesh, const AxisSize& axis, int64_t ffn_unit) {
  const int64_t ways = parts(mesh, axis.axis);
  if (ways == 1) return axis.size;
  const int64_t unit = axis.axis == Axis::ffn ? ffn_unit : 1;
  return (axis.size + ways * unit - 1) / (ways * unit) * unit;
}

int64_t shard_extent(const Mesh& mesh, const AxisList& axes, int64_t ffn_unit) {
  int64_t product = 1;
  for (const AxisSize& axis : axes) product *= axis_extent(mesh, axis, ffn_unit);
  return product;
}

int64_t layer_of(const Node& node) {
  constexpr std::string_view kScope = "layers.";
  const std::string_view name = node.name;
  if (!name.starts_with(kScope)) return -1;
  int64_t layer = -1;
  const char* const begin = name.data() + kScope.size();
  const auto [end, error] = std::from_chars(begin, name.data() + name.size(), layer);
  return error == std::errc() && end > begin ? layer : -1;
}

int64_t layer_count(const Program& program) {
  int64_t highest = -1;
  for (const Node& node : program.nodes) highest = std::max(highest, layer_of(node));
  return highest + 1;
}

std::vector<int64_t> node_stages(const Program& program, int64_t stages) {
  DUNLIN_CHECK(stages >= 1, "at least one stage");
  const int64_t layers = layer_count(program);
  const int64_t each = layers / stages;
  const int64_t longer = layers % stages;  // the first stages, of each + 1 layers
  std::vector<int64_t> result;
  bool in_layers = false;
  for (const Node& node : program.nodes) {
    const int64_t layer = layer_of(node);
    in_layers = in_layers || layer >= 0;
    if (layer < 0) {
      result.push_back(in_layers ? stages - 1 : 0);
    } else if (layer < longer * (each + 1)) {
      result.push_back(layer / (each + 1));
    } else {
      result.push_back(longer + (layer - longer * (each + 1)) / each);
    }
  }
  return result;
}

}  // namespace dunlin
