// ProgramSharding: where each value of a Program lies on the devices of a mesh.
//
// Sequences, and with them the rows of a step, are split over data and expert; nothing of that is
// ever exchanged but rows on their way to experts of other devices. Within a part of the batch a
// value is split as the weights that made it are: column-parallel matrices give split values, which
// row-parallel ones take and give partial sums of, as in Megatron-LM (Shoeybi et al., 2019). What an
// operation cannot take split is gathered before it: no model here has such a place.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "backend/api.h"
#include "backend/pjrt/element.h"
#include "backend/pjrt/sharding/layout.h"
#include "base/result.h"
#include "program/program.h"

namespace dunlin::pjrt {

struct ProgramSharding {
  Sharding sharding = {};
  // False for a Program that is not row-wise: every part of the batch computes all of it.
  bool splits_batch = true;
  std::vector<Layout> weights = {};  // by WeightId
  std::vector<Layout> values = {};   // by ValueId: as they are computed
  // By node and operand: as the node takes it.
  std::vector<std::vector<Layout>> operands = {};
  std::vector<Layout> outputs = {};  // in the Program's order: as they leave the devices
  std::vector<Layout> keys = {};     // of keys and values [T,K,h] of each KV group

  const Mesh& mesh() const { return sharding.mesh; }
  int64_t devices() const { return sharding.mesh.devices(); }
  int64_t batch_parts() const;
  // The part of the batch that a device computes.
  int64_t batch_part_of(int64_t device) const;
  // The first device that computes this part of the batch and has this place on `axes`.
  int64_t device_of(int64_t batch_part, const std::vector<MeshAxis>& axes, int64_t place) const;
  Shape local(const Layout& layout, const Shape& dims) const {
    return local_dims(sharding, layout, dims);
  }
};

// `program` is expanded but for what lower() takes as it is on a mesh.
ProgramSharding propagate(const Program& program, const Sharding& sharding, bool splits_batch);

// The same for a mesh as a person wrote it. Errors (kind usage): an axis that programs are not split
// over, sizes that it does not divide, a share that would cut a block of a weight's format.
Result<std::shared_ptr<const ProgramSharding>> shard_program(const Program& program,
                                                             const WeightSource& weights,
                                                             const MeshShape& shape,
                                                             bool splits_batch);

}  // namespace dunlin::pjrt
