// The weights of a prepared directory for a mesh, put together from its shards.
#pragma once

#include "base/result.h"
#include "checkpoint/stored_checkpoint.h"

namespace dunlin {

// Gives every tensor of `parts` a source over the shards of its prepared_files, so that a range of it
// is read from the files that hold it. Errors (kind model): a part that disagrees with its chunk or
// its tensor, or that is missing.
Result<void> join_weights(CheckpointParts& parts);

}  // namespace dunlin
