// The Checkpoint that both containers build: a canonical configuration and a checked table of
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
  std::shared_ptr<const PreparedWeights> prepared = {};         // of a prepared directory
  ScaleTensors scales = {};
};

// Gives every tensor its canonical name and checks its shape against the configuration. A tensor
// that no family has is an error, because the model would compute something else
// without it; so is a mapped vector in a block format. A tied model's lm_head.weight gets no
// canonical name.
Result<std::unique_ptr<Checkpoint>> make_checkpoint(CheckpointParts parts);

}  // namespace dunlin
