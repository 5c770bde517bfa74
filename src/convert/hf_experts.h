// The experts of a mixture as tensors of a Hugging Face directory: names and orders are those that
// checkpoint/weight_parts.h lists.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "convert/tensor_stream.h"

namespace dunlin {

// Puts, in the place of the canonical weights of experts, the tensors that transformers reads: gate and
// up in one, in turn; MXFP4 as two tensors of bytes, codes and exponents; plain numbers the other way
// round. Those in other formats stay as they are. Errors (kind usage): gate and up in different
// formats.
Result<void> store_experts(std::vector<TensorPlan>& tensors);

// quantization_config for such tensors, as published; empty where none is in MXFP4.
std::string mxfp4_quantization(const std::vector<TensorPlan>& tensors);

}  // namespace dunlin
