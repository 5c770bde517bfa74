// Reads the header of one safetensors file (huggingface/safetensors, README: Format).
#pragma once

#include <vector>

#include "base/byte_source.h"
#include "base/result.h"
#include "checkpoint/checkpoint.h"

namespace dunlin {

// Of the tensors of a file, and of the keys of its metadata; the largest models have some 100,000.
// A tensor costs about 400 bytes of memory here.
inline constexpr size_t kMostSafetensorsNames = 1'000'000;

// The tensors in the order of their data. canonical_name is still empty; offsets count from the
// start of the file. The data must begin at 0, follow each other without holes or overlaps, and end
// with the file; the header may have 100 MB. Types other than F32, F16, BF16, F8_E4M3, F8_E5M2, I8
// and U8 (raw bytes) are an error that names the tensor.
Result<std::vector<TensorInfo>> read_safetensors_header(const ByteSource& source);

}  // namespace dunlin
