// The keys of a GGUF file, from a checkpoint of either container.
#pragma once

#include "base/result.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/gguf_writer.h"

namespace dunlin {

// Of a GGUF file: its keys as they are, without those of a split. Of a Hugging Face directory:
// general.*, the architecture's sizes, the recommended sampling, and tokenizer.ggml.* with the chat
// template (checkpoint/text_directory.h). What GGUF has no key for is told as a warning. Errors (kind model): a tokenizer that
// GGUF has no form for.
Result<void> add_gguf_header(const Checkpoint& checkpoint, GgufWriter& writer);

}  // namespace dunlin
