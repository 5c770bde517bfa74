// Text of meshes, and products of axes.
#include "program/mesh.h"

#include <fmt/format.h>

#include <charconv>
#include <span>

namespace dunlin {

namespace {

constexpr int64_t kMostPerAxis = 1 << 16;
constexpr int64_t kMostDevices = 1 << 24;

struct ShapeAxis {
  const char* name;
  int64_t MeshShape::* size;
};

constexpr ShapeAxis kShapeAxes[] = {
    {"data", &MeshShape::data},     {"stage", &MeshShape::stage}, {"fsdp", &MeshShape::fsdp},
    {"expert", &MeshShape::expert}, {"width", &MeshShape::width}, {"model", &MeshShape::model},
};

std::string known_axes() {
  std::string names;
  for (const ShapeAxis& axis : kShapeAxes) {
    names += fmt::format("{}{}", names.empty() ? "" : ", ", axis.name);
  }
  return names;
}

// One "name=size"; `seen` has a flag per axis.
Result<void> read_axis(std::string_view item, std::string_view text, MeshShape& shape,
                       std::span<bool> seen) {
  const size_t equals = item.find('=');
  const std::string_view name = item.substr(0, equals);
  for (size_t i = 0; i < std::size(kShapeAxes); ++i) {
    if (name != kShapeAxes[i].name) continue;
    if (seen[i]) return usage_error(fmt::format("mesh {}: {} is named twice", text, name));
    seen[i] = true;
    const std::string_view digits =
        equals == std::string_view::npos ? std::string_view() : item.substr(equals + 1);
    int64_t size = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), size);
    if (error != std::errc() || end != digits.data() + digits.size() || size < 1 ||
        size > kMostPerAxis) {
      return usage_error(fmt::format("mesh {}: the size of {} must be a number from 1 to {}", text,
                                     name, kMostPerAxis));
    }
    shape.*kShapeAxes[i].size = size;
    return {};
  }
  return usage_error(
      fmt::format("mesh {}: no axis is called \"{}\" (known: {})", text, name, known_axes()));
}

}  // namespace

Result<MeshShape> parse_mesh_shape(std::string_view text) {
  MeshShape shape;
  std::array<bool, std::size(kShapeAxes)> seen{};
  std::string_view rest = text;
  for (bool more = true; more;) {
    const size_t comma = rest.find(',');
    more = comma != std::string_view::npos;
    DUNLIN_RETURN_IF_ERROR(read_axis(rest.substr(0, comma), text, shape, seen));
    if (more) rest.remove_prefix(comma + 1);
  }
  // Six factors of at most 2^16: the product is taken in floating point first.
  double devices = 1;
  for (const ShapeAxis& axis : kShapeAxes) devices *= static_cast<double>(shape.*axis.size);
  if (devices > static_cast<double>(kMostDevices)) {
    return usage_error(fmt::format("mesh {}: more than {} devices", text, kMostDevices));
  }
  return shape;
}

std::string to_string(const MeshShape& shape) {
  std::string text;
  for (const ShapeAxis& axis : kShapeAxes) {
    if (shape.*axis.size == 1) continue;
    text += fmt::format("{}{}={}", text.empty() ? "" : ",", axis.name, shape.*axis.size);
  }
  return text.empty() ? "data=1" : text;
}

const char* mesh_axis_name(MeshAxis axis) {
  constexpr std::array<const char*, kMeshAxes> kNames = {"data",  "stage", "fsdp", "expert",
                                                         "width", "kv",    "group"};
  return kNames[static_cast<size_t>(axis)];
}

int64_t Mesh::size(const std::vector<MeshAxis>& axes) const {
  int64_t product = 1;
  for (const MeshAxis axis : axes) product *= size(axis);
  return product;
}

int64_t Mesh::devices() const {
  int64_t product = 1;
  for (const int64_t each : sizes) product *= each;
  return product;
}

}  // namespace dunlin
