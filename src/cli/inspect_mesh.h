// `dunlin inspect --mesh`: what the devices of a mesh hold of a model's weights, and what one of them
// reads.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "checkpoint/checkpoint.h"
#include "program/mesh.h"

namespace dunlin {

// Prints a row for every shard from the headers of the model. Errors: those of shard_weights() and
// weight_share().
Result<void> print_shards(const Checkpoint& checkpoint, const MeshShape& shape, bool json);

// Reads one shard, counted from 1, and prints its bytes beside those that were read of the checkpoint's
// weights. Errors too: no such shard (kind usage), a weight that cannot be read.
Result<void> print_shard_reads(const Checkpoint& checkpoint, const MeshShape& shape, int64_t shard,
                               bool json);

}  // namespace dunlin
