// The tensors of a checkpoint as a Hugging Face directory lists them.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "checkpoint/checkpoint.h"
#include "convert/tensor_stream.h"

namespace dunlin {

struct HfTensors {
  // Embedding, layers, norm, output; rows in canonical order, but for experts (hf_experts.h).
  std::vector<TensorPlan> tensors;
  Format dtype;                   // of most plain weights: config.json's torch_dtype
  std::string quantization = {};  // config.json's quantization_config as JSON; empty: none
};

// The format of a matrix, by its name.
using MatrixFormat = std::function<Format(const std::string& name, const WeightView& view)>;

// Matrices in the formats that `format_of` says, of safetensors, experts also in MXFP4; vectors, biases
// of experts and routers in the format of most plain weights where that loses nothing, else in F32.
// Errors (kind model): those of check_complete; (kind usage) of check_no_mesh and store_experts.
Result<HfTensors> hf_tensors_with(const Checkpoint& checkpoint, const MatrixFormat& format_of);

// Matrices in `type`, or as they are stored. Errors (kind usage): without a `type`, a matrix in a
// block format, which safetensors cannot hold but for experts in MXFP4.
Result<HfTensors> hf_tensors(const Checkpoint& checkpoint, std::optional<Format> type);

}  // namespace dunlin
