// Writes the models of tests/data from their recipe.json, so that those too large to commit exist
// when a test runs. The files are byte for byte what tools/make_golden.py and tools/hf_to_gguf.py
// write.
#pragma once

#include <string>

#include "base/result.h"

namespace dunlin {

// A Hugging Face directory (config.json, safetensors, possibly in shards) in the existing folder
// `folder`. An error names the recipe or the file that cannot be written.
Result<void> write_synthetic_directory(const std::string& recipe_path, const std::string& folder);

// The same model as one GGUF file at `path`: matrices in the recipe's number format, vectors F32.
Result<void> write_synthetic_gguf(const std::string& recipe_path, const std::string& path);

}  // namespace dunlin
