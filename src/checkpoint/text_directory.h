// Where the text side of a directory lies: tokenizer and chat template.
#pragma once

#include <string>

#include "checkpoint/checkpoint.h"

namespace dunlin {

// The directory of the checkpoint; for gpt-oss's original/, which has weights only, the one above it.
std::string text_directory(const Checkpoint& checkpoint);

}  // namespace dunlin
