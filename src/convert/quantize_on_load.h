// A checkpoint whose matrices are encoded in another type while they are read.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "checkpoint/checkpoint.h"

namespace dunlin {

// Gives every matrix the format, and the bits, that `dunlin quantize` with this type writes. Rows
// are encoded by whoever reads them, on any thread; nothing is kept. Errors: a name that is no
// type, a prepared directory, weights that are quantised already, a mixture for a type with scales
// beside the elements (kind usage); those of gguf_tensors.
Result<std::unique_ptr<Checkpoint>> quantize_on_load(std::unique_ptr<Checkpoint> checkpoint,
                                                     const std::string& type);

}  // namespace dunlin
