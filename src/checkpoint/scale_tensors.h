// The tensors of a Hugging Face directory that hold the scales of others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/byte_source.h"
#include "base/result.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/quantization_config.h"

namespace dunlin {

// The scales of a matrix, in a file.
struct ScaleTensor {
  WeightView view = {};  // all of them as one row
  std::string name = {};
  int64_t rows = 1;     // that share a scale
  int64_t columns = 1;  // that share it
  int64_t per_row = 1;  // scales of one row
};

struct ScaleTensors {
  std::unordered_map<size_t, ScaleTensor> of = {};  // by the number of the matrix
  std::unordered_set<std::string> names = {};       // of tensors that no model reads by themselves
};

// Finds the scales of every tensor in I8 or F8 and checks their shapes; nothing of them is read.
// Scales of activations and of the KV cache are left aside. Errors (kind model) name the file and
// the tensor: such a tensor without `config`, or that it calls plain, or with other elements than
// it says; scales that are missing or of another shape; rows of I8 that are not whole groups of 32.
Result<ScaleTensors> find_scale_tensors(
    const std::optional<QuantizationConfig>& config, const std::vector<TensorInfo>& tensors,
    const std::vector<std::shared_ptr<const ByteSource>>& sources);

// Errors name the file, the tensor and the first scale that is not a positive normal number.
Result<std::shared_ptr<const WeightScales>> read_scales(const ScaleTensor& tensor);

}  // namespace dunlin
