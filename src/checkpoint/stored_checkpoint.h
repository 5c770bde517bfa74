// The Checkpoint that all containers build: a canonical configuration and a checked table of
// tensors.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/byte_source.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/scale_tensors.h"

namespace dunlin {

struct CheckpointParts {
  std::string path = {};
  const char* container = "";
  Metadata config = Metadata();
  Metadata header = Metadata();
  std::vector<TensorInfo> tensors = {};                         // with names as stored
  std::vector<std::shared_ptr<const ByteSource>> sources = {};  // of each tensor
  std::shared_ptr<const PreparedWeights> prepared = {};         // packed ones
  std::shared_ptr<const PreparedFiles> prepared_files = {};     // of a prepared directory
  ScaleTensors scales = {};
};

// Finds the weights in the tensors and checks their shapes against the configuration. A tensor that
// no model of the family has is an error, because the model would compute something else without it;
// so are a mapped vector in a block format, a weight that two tensors hold, and bytes that are no
// numbers. Pairs of tensors that are MXFP4 become one. A tied model's lm_head.weight is no weight.
Result<std::unique_ptr<Checkpoint>> make_checkpoint(CheckpointParts parts);

}  // namespace dunlin
