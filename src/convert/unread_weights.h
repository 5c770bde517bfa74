// Weights of a checkpoint that a Program does not know.
#pragma once

#include "base/result.h"
#include "checkpoint/checkpoint.h"
#include "program/program.h"

namespace dunlin {

// A weight of the checkpoint that the Program does not read would be left out of what the model
// computes: an error (kind model) that names file and tensor. The configuration says which biases
// there are, so only the Program knows.
Result<void> check_all_are_read(const Checkpoint& checkpoint, const Program& program);

}  // namespace dunlin
