// Mesh: devices in a grid with named axes. A person writes a MeshShape ("data=2,model=8"); for a
// Program it becomes a Mesh, whose `model` axis is factored so that grouped-query attention splits
// evenly (sharding.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace dunlin {

// The axes a person names; each at least 1, and a device belongs to one place on every axis.
struct MeshShape {
  int64_t data = 1;    // splits the sequences; weights are copied
  int64_t stage = 1;   // splits the layers (pipeline)
  int64_t fsdp = 1;    // splits the sequences and the weights, which are gathered for each use
  int64_t expert = 1;  // splits the experts, and the sequences outside them
  int64_t width = 1;   // splits the model's width: the second axis of 2-D tensor parallelism
  int64_t model = 1;   // splits heads, ffn and vocabulary: tensor parallelism

  int64_t devices() const { return data * stage * fsdp * expert * width * model; }
  friend bool operator==(const MeshShape&, const MeshShape&) = default;
};

// "data=1,model=8" in any order; an axis that is left out is 1. Errors (kind usage): an unknown
// axis, one named twice, a size outside 1..65536, more than 2^24 devices.
Result<MeshShape> parse_mesh_shape(std::string_view text);

// The axes that are not 1, "data=2,model=8"; "data=1" for a single device.
std::string to_string(const MeshShape& shape);

// Axes of the devices, outermost first: neighbours on `group` are closest. kv * group is the shape's
// `model`.
enum class MeshAxis : uint8_t { data, stage, fsdp, expert, width, kv, group };
inline constexpr size_t kMeshAxes = 7;

const char* mesh_axis_name(MeshAxis axis);  // "data", "kv", ...

struct Mesh {
  std::array<int64_t, kMeshAxes> sizes = {1, 1, 1, 1, 1, 1, 1};  // by MeshAxis

  int64_t size(MeshAxis axis) const { return sizes[static_cast<size_t>(axis)]; }
  int64_t size(const std::vector<MeshAxis>& axes) const;  // product
  int64_t devices() const;
  friend bool operator==(const Mesh&, const Mesh&) = default;
};

}  // namespace dunlin
