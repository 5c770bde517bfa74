// What a device of a mesh holds of a weight as a checkpoint stores it.
#pragma once

#include "backend/api.h"
#include "base/result.h"
#include "formats/weight_box.h"
#include "formats/weight_view.h"
#include "program/program.h"
#include "program/shares.h"

namespace dunlin {

// The Program on a mesh, with borders of ffn between the blocks of these weights and of their scales.
// Errors: those of device_mesh() and of `weights`; a weight of another shape than the Program
// declares; blocks without a common border (kind usage).
Result<Sharding> shard_weights(const Program& program, const WeightSource& weights,
                               const MeshShape& shape);

// The share of the device at `place`. Scales beside the elements go with them: each row has those of
// its columns. An error (kind usage) names weight, block and mesh when a border of the share would cut
// a block of the format, or the columns of one of several scales, which cannot be padded away: heads
// are smaller than a block, or the width is.
Result<WeightBox> weight_share(const WeightDeclaration& declaration, const WeightView& view,
                               const Sharding& sharding, const Coordinates& place);

}  // namespace dunlin
