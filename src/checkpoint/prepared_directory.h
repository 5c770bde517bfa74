// A prepared directory as a Checkpoint. Its weights lie as a back end computes with them, and are mapped
// rather than read; or, for the devices of a mesh, in shards with the formats of the model, which are
// read from where they lie.
//
//   manifest.dunlin                    artifact: PreparedManifest
//   weights-00001-of-00002.dunlin ...  artifacts. Packed: one chunk for each PreparedPart, in order of
//                                      use. For a mesh: one file for each shard, with a chunk of
//                                      ShardContents and one for each of its weights, all layers of a
//                                      kind after each other.
//   header.gguf, or tokenizer.json (or vocab.json, merges.txt), tokenizer_config.json, chat_template.jinja
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "checkpoint/checkpoint.h"

namespace dunlin {

// Whether there is a manifest.
bool is_prepared_directory(const std::string& path);

// Compares the manifest, the tables of the weights and all smaller files with their checksums. What
// weight() names of a packed directory cannot be read: its bytes are those of prepared(). Of one for a
// mesh it is joined from the shards, in canonical order, and any range of it can be read. Errors (kind
// model) name the file.
Result<std::unique_ptr<Checkpoint>> open_prepared_directory(const std::string& path);

}  // namespace dunlin
