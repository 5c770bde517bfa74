// Layout: how an array lies on the devices of a mesh. Pure functions from logical axes to mesh axes,
// all by the one table of program/sharding.h: for weights, values and the KV arrays.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "program/axis.h"
#include "program/mesh.h"
#include "program/program.h"
#include "program/shares.h"
#include "tensor/view.h"

namespace dunlin::pjrt {

// One list per dimension. Of a dimension that is split: its axes, outermost first, where those that
// nothing splits are one with their neighbours, named head_dim. Empty: whole on every device. Rows,
// logit rows and sequences are those of a device's part of the batch: they have no axes.
using Layout = std::vector<AxisList>;

// An error (kind usage) names an axis that programs are not split over: stage, fsdp or width.
Result<void> check_axes(const MeshShape& shape);

// The mesh axes that split a dimension, outermost first; none of size 1.
std::vector<MeshAxis> split_axes(const Mesh& mesh, const AxisList& dim);

// A dimension's axes in the form that Layout has.
AxisList canonical(const Mesh& mesh, const AxisList& axes);
// A weight's dimensions. A mesh axis splits one dimension at most: the first one that has it.
Layout canonical_layout(const Mesh& mesh, const std::vector<AxisList>& dims);
Layout whole_layout(size_t rank);
bool is_whole(const Layout& layout);

// Of keys and values [T,K,h], and of queries [T,H,h], whose heads stay with their kv head. Kv heads
// that the mesh's kv axis does not divide are whole everywhere.
Layout key_layout(const Mesh& mesh, int64_t kv_heads);
Layout query_layout(const Mesh& mesh, int64_t heads, int64_t kv_heads);

// Sizes on one device.
Shape local_dims(const Sharding& sharding, const Layout& layout, Shape dims);

// The declaration with the axes of this layout, for weight_share().
WeightDeclaration declaration_of(const WeightDeclaration& declaration, const Layout& layout);

}  // namespace dunlin::pjrt
