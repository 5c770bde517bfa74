// MXFP4 in safetensors: two tensors of bytes for one of numbers. X_blocks [.., C / 32, 16] has the
// codes of 32 neighbours, the first of two in the low half of a byte; X_scales [.., C / 32] has an
// exponent for each (openai/gpt-oss, torch/weights.py). X.blocks and X.scales are the same. Here they
// become one tensor in ggml's blocks, which are formats/mxfp4.h. GGUF files that ollama converted may
// have blocks with such codes.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/byte_source.h"
#include "base/result.h"
#include "checkpoint/checkpoint.h"

namespace dunlin {

// Puts one tensor [.., C] of format MXFP4 in the place of each pair, under the name of its blocks and
// over a source that repacks what is read. The two may lie in different files. A tensor of bytes
// without the other half, or with another shape than it, is an error that names file and tensor.
// Bytes under other names stay as they are.
Result<void> join_mxfp4_pairs(std::vector<TensorInfo>& tensors,
                              std::vector<std::shared_ptr<const ByteSource>>& sources);

// The same file with the `bytes` from `offset` on, blocks of 17 bytes whose codes lie as in pairs, as
// ggml's blocks. Nothing else of it can be read.
std::shared_ptr<const ByteSource> neighbours_source(std::shared_ptr<const ByteSource> file,
                                                    uint64_t offset, uint64_t bytes);

}  // namespace dunlin
