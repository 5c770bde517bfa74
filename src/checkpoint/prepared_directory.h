// A prepared directory as a Checkpoint: its weights lie as a back end computes with them, and are
// mapped rather than read.
//
//   manifest.dunlin                    artifact: PreparedManifest
//   weights-00001-of-00002.dunlin ...  artifacts: one chunk for each PreparedPart, in order of use
//   header.gguf, or tokenizer.json, tokenizer_config.json, chat_template.jinja
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "checkpoint/checkpoint.h"

namespace dunlin {

// Whether there is a manifest.
bool is_prepared_directory(const std::string& path);

// Compares the manifest, the tables of the weights and all smaller files with their checksums, and maps
// the weights. What weight() names cannot be read: its bytes are those of prepared(). Errors (kind
// model) name the file.
Result<std::unique_ptr<Checkpoint>> open_prepared_directory(const std::string& path);

}  // namespace dunlin
