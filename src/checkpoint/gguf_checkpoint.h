// A GGUF file as a Checkpoint.
#pragma once

#include <memory>

#include "base/byte_source.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/gguf_parts.h"

namespace dunlin {

// Reads the headers of all parts, and rope_freqs.weight where there is one. `source` is the first
// part; `open` opens the others.
Result<std::unique_ptr<Checkpoint>> open_gguf(std::shared_ptr<const ByteSource> source,
                                              const OpenPart& open = open_file);

}  // namespace dunlin
