// Writes a checkpoint as a GGUF file.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "checkpoint/checkpoint.h"
#include "convert/imatrix.h"
#include "convert/tensor_stream.h"

namespace dunlin {

// Called after every piece with the bytes of tensors that are written, of all. Its error ends the
// work, and no file appears.
using ConvertProgress = std::function<Result<void>(uint64_t done, uint64_t total)>;

// general.file_type of float formats (llama.h, enum llama_ftype): that of most weights.
uint32_t float_file_type(const std::vector<TensorPlan>& tensors);

// Keys about how the tensors were made.
struct GgufKeys {
  std::optional<uint32_t> file_type = {};  // without it the checkpoint's stays
  // As llama-quantize notes them; null without an importance matrix.
  const ImportanceMatrix* imatrix = nullptr;
  std::string imatrix_file = {};
};

// The file appears whole or not at all, and takes the place of an older GGUF file of that name.
// `tensors` are those of gguf_tensors(checkpoint), in the formats they are to have. Errors: anything else of that name, or a file
// that is read (kind usage); those of AtomicFile, add_gguf_header and TensorStream.
Result<void> write_gguf(const Checkpoint& checkpoint, const std::vector<TensorPlan>& tensors,
                        const GgufKeys& keys, const std::string& path, ThreadPool& pool,
                        const ConvertProgress& progress);

}  // namespace dunlin
