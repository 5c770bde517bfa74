// A GGUF file as a Checkpoint.
#pragma once

#include <memory>

#include "base/byte_source.h"
#include "checkpoint/checkpoint.h"

namespace dunlin {

// Reads the header, and rope_freqs.weight where there is one.
Result<std::unique_ptr<Checkpoint>> open_gguf(std::shared_ptr<const ByteSource> source);

}  // namespace dunlin
