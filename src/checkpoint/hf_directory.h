// A Hugging Face directory (config.json and safetensors) as a Checkpoint.
#pragma once

#include <memory>
#include <string>

#include "checkpoint/checkpoint.h"

namespace dunlin {

// Reads config.json, generation_config.json where there is one, and the headers of
// model.safetensors or of the shards that model.safetensors.index.json names.
Result<std::unique_ptr<Checkpoint>> open_hf_directory(const std::string& path);

}  // namespace dunlin
