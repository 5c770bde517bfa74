// Writes a checkpoint as a GGUF file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "checkpoint/checkpoint.h"
#include "convert/imatrix.h"
#include "convert/tensor_stream.h"
#include "convert/write_tensors.h"

namespace dunlin {

// general.file_type of float formats (llama.h, enum llama_ftype): that of most weights.
uint32_t float_file_type(const std::vector<TensorPlan>& tensors);

// Keys about how the tensors were made.
struct GgufKeys {
  std::optional<uint32_t> file_type = {};  // without it the checkpoint's stays
  // As llama-quantize notes them; null without an importance matrix.
  const ImportanceMatrix* imatrix = nullptr;
  std::string imatrix_file = {};
};

// The file appears whole or not at all, and takes the place of an older GGUF file of that name. Goes
// on where an earlier run with the same input and settings was ended; the result is the number of
// tensors that it had written. `tensors` are those of gguf_tensors(checkpoint), in the formats they
// are to have. Errors: anything else of that name, or a file that is read (kind usage); those of
// ResumableFile, add_gguf_header and TensorStream.
Result<size_t> write_gguf(const Checkpoint& checkpoint, const std::vector<TensorPlan>& tensors,
                          const GgufKeys& keys, const std::string& path, ThreadPool& pool,
                          const ConvertProgress& progress);

}  // namespace dunlin
