// Reads the header of a GGUF file of version 2 or 3 (ggml's docs/gguf.md): keys, values and tensor records,
// all checked against the file before anything is allocated for them.
#pragma once

#include <vector>

#include "base/byte_source.h"
#include "base/metadata.h"
#include "base/result.h"
#include "checkpoint/checkpoint.h"

namespace dunlin {

// Where a key's value lies in the file, from its type id on: for copying it as it is.
struct GgufPair {
  std::string key;
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

struct GgufHeader {
  Metadata metadata;  // every key as stored; integers and booleans of arrays become integers
  std::vector<GgufPair> pairs;  // in the order of the file
  std::vector<TensorInfo>
      tensors;  // canonical_name is still empty; offsets count from the start of the file
};

// A header may have 64 MiB (the largest known, 262,144 tokens with merges, has 16). Arrays of
// arrays are refused, and so are tensors that overlap and bytes after the last tensor's padding.
Result<GgufHeader> read_gguf_header(const ByteSource& source);

}  // namespace dunlin
