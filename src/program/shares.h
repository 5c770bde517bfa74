// Shares: what one device of a mesh holds of a weight, by the table of sharding.h. A share is a part
// of every dimension of the weight, in the order of the checkpoint's canonical rows; what pads it to
// the size that all devices have is zero.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/index_runs.h"
#include "program/axis.h"
#include "program/mesh.h"
#include "program/program.h"

namespace dunlin {

struct Sharding {
  MeshShape shape = {};  // as a person wrote it
  Mesh mesh = {};        // device_mesh() of the Program and the shape
  // Elements of the ffn axis that stay together: whole blocks of every weight that is stored in blocks
  // along it, and of its scales. Borders are moved to whole blocks, so that the last devices can hold
  // more zeros.
  int64_t ffn_unit = 1;
};

// A device's place on every axis, by MeshAxis.
using Coordinates = std::array<int64_t, kMeshAxes>;

// Devices are numbered from 0, row-major over the axes in their order: `group` changes fastest.
Coordinates coordinates_of(const Mesh& mesh, int64_t device);
int64_t device_at(const Mesh& mesh, const Coordinates& place);

// One number for the place on several axes, outermost first: below the product of their sizes.
int64_t place_on(const Mesh& mesh, const Coordinates& place, const std::vector<MeshAxis>& axes);

// How many devices hold different weights. They are the first ones, at place 0 of the data axis, which
// copies weights.
int64_t shard_count(const Mesh& mesh);

// The axes that are not 1: "kv=1,group=0"; "all" where there are none.
std::string to_string(const Mesh& mesh, const Coordinates& place);

// The sizes of the axes that are not 1: "kv=2,group=4"; "all" where there are none.
std::string to_string(const Mesh& mesh);

// The part of a dimension. An axis of n elements that is split p ways is in p equal parts of n / p
// elements, rounded up (ffn: to whole units); the last parts are shorter or empty, and padded.
IndexRuns dimension_share(const Sharding& sharding, const Coordinates& place, const AxisList& axes);

// The stages that read each weight, ascending, by WeightId. A tied embedding is in the first and in
// the last one.
std::vector<std::vector<int64_t>> weight_stages(const Program& program, int64_t stages);

}  // namespace dunlin
