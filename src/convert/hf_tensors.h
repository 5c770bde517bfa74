// The tensors of a checkpoint as a Hugging Face directory lists them.
#pragma once

#include <optional>
#include <vector>

#include "base/result.h"
#include "checkpoint/checkpoint.h"
#include "convert/tensor_stream.h"

namespace dunlin {

struct HfTensors {
  std::vector<TensorPlan> tensors;  // embedding, layers, norm, output; rows in canonical order
  Format dtype;                     // of most weights: config.json's torch_dtype
};

// Matrices in `type`, or as they are stored; vectors in the format of most weights where that loses
// nothing, else in F32. Errors (kind usage): without a `type`, a matrix in a block format, which
// safetensors cannot hold; (kind model) those of check_complete.
Result<HfTensors> hf_tensors(const Checkpoint& checkpoint, std::optional<Format> type);

}  // namespace dunlin
