// Sharding: which axes of the mesh split which logical axes of weights and values. This one table
// is all of it; a dimension of a weight is split by the mesh axes of its logical axes.
//
//   logical axis   mesh axes    a size that does not divide
//   vocab          kv, group    padded with zero rows; padded logits are -infinity
//   embed          width, fsdp  an error
//   kv_heads       kv           always divides: kv = gcd(kv heads, model)
//   q_group        group        padded with zero heads
//   head_dim       none
//   ffn            kv, group    padded with zeros, to whole blocks of stored weights (shares.h)
//   experts        expert       an error
//
// So a `model` axis of N splits query heads N ways; keys, values and their cache kv ways, with a
// copy in every place of `group` (N = 16 and 8 kv heads: kv = 8, group = 2). Rows and sequences of a
// step are split by batch_axes(). fsdp splits a weight only where it lies: before use it is gathered.
#pragma once

#include <vector>

#include "base/result.h"
#include "program/axis.h"
#include "program/mesh.h"
#include "program/program.h"

namespace dunlin {

// Column "mesh axes" of the table, outermost first.
const std::vector<MeshAxis>& mesh_axes(Axis axis);

// What splits sequences, and with them the rows of a step: data, fsdp, expert.
const std::vector<MeshAxis>& batch_axes();

// The mesh of a Program's devices. Errors (kind usage) name the axis, its size and the weight that
// cannot be split, or say that there are fewer layers than stages.
Result<Mesh> device_mesh(const Program& program, const MeshShape& shape);

// Ways an axis is split: the product of its mesh axes.
inline int64_t parts(const Mesh& mesh, Axis axis) {
  return mesh.size(mesh_axes(axis));
}

// Elements of an axis on one device. `ffn_unit` elements of ffn stay together (Sharding::ffn_unit).
int64_t axis_extent(const Mesh& mesh, const AxisSize& axis, int64_t ffn_unit = 1);

// Elements of a dimension on one device.
int64_t shard_extent(const Mesh& mesh, const AxisList& axes, int64_t ffn_unit = 1);

// The layer that a node's scope names ("layers.3.attend.q" is in 3); -1 outside of layers.
int64_t layer_of(const Node& node);

// Layers of the Program: one more than the highest layer_of().
int64_t layer_count(const Program& program);

// The stage that runs a node: layers in equal runs, the first stages taking one more where they do
// not divide; what comes before the layers is in the first stage, what comes after in the last.
std::vector<int64_t> node_stages(const Program& program, int64_t stages);

}  // namespace dunlin
