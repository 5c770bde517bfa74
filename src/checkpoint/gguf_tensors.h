// Checks the tensor records of a GGUF header and places them in the file.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/byte_source.h"
#include "base/result.h"
#include "checkpoint/checkpoint.h"

namespace dunlin {

struct GgufTensorRecord {
  std::string name;
  std::vector<uint64_t> extents;  // innermost first, as stored
  uint32_t type = 0;              // ggml type id
  uint64_t offset = 0;            // from the start of the data section
  bool neighbours = false;        // of TensorInfo
};

// The data section begins at the first multiple of `alignment` (a power of two) at or after
// `header_end`. Every record must be whole blocks of a known format at an aligned offset inside the
// file, and no two may overlap.
Result<std::vector<TensorInfo>> place_gguf_tensors(const ByteSource& source, uint64_t header_end,
                                                   uint64_t alignment,
                                                   std::span<const GgufTensorRecord> records);

}  // namespace dunlin
