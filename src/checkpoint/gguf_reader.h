// Reads the header of a GGUF version 3 file (ggml's docs/gguf.md): keys, values and tensor records,
// all checked against the file before anything is allocated for them.
#pragma once

#include <vector>

#include "base/byte_source.h"
#include "base/metadata.h"
#include "base/result.h"
#include "checkpoint/checkpoint.h"

namespace dunlin {

struct GgufHeader {
  Metadata metadata;  // every key as stored; integers and booleans of arrays become integers
  std::vector<TensorInfo>
      tensors;  // canonical_name is still empty; offsets count from the start of the file
};

// A header may have 64 MiB (the largest known, 262,144 tokens with merges, has 16). Arrays of
// arrays are refused, and so are tensors that overlap and bytes after the last tensor's padding.
Result<GgufHeader> read_gguf_header(const ByteSource& source);

}  // namespace dunlin
