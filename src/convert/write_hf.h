// Writes a checkpoint as a Hugging Face directory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/thread_pool.h"
#include "checkpoint/checkpoint.h"
#include "convert/hf_tensors.h"
#include "convert/write_tensors.h"

namespace dunlin {

// config.json, generation_config.json where sampling is recommended, model.safetensors, or shards
// of at most `shard_bytes` of tensors with their index, tokenizer.json and tokenizer_config.json of
// a GGUF file's tokenizer; of a Hugging Face directory these files as they are. The directory
// appears whole or not at all. Goes on where an earlier run with the same input and settings was
// ended; the result is the number of tensors that it had written. Errors: those of AtomicFolder,
// ResumableFile, TensorStream and hf_config_text; weights that do not fit the disk (kind
// does_not_fit); a tokenizer that is not supported.
Result<size_t> write_hf(const Checkpoint& checkpoint, const HfTensors& tensors,
                        const std::string& path, uint64_t shard_bytes, ThreadPool& pool,
                        const ConvertProgress& progress);

}  // namespace dunlin
