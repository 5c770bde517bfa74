// Which files of a repository make a model that runs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "hub/hub_names.h"

namespace dunlin {

struct FileChoice {
  std::vector<std::string> include =
      {};  // patterns of fnmatch(3) for the whole name; * takes a '/'
  std::vector<std::string> exclude = {};
};

struct SelectedFiles {
  std::vector<std::string> names = {};
  // The .gguf file to open, the first part of a split one; empty when it is the folder.
  std::string gguf = {};
  std::string note = {};  // what was chosen where there was a choice
};

// From the names of all files of `model.repo`:
// - `include`: what it fits, whatever that is;
// - a file or quant of `model`, or a repository with GGUF files alone: that GGUF file with all its
//   parts, by default Q4_K_M, else the first;
// - else of the files that are in no folder: configuration, tokenizer, template, and the weights
//   that a Hugging Face directory is read from: model.safetensors, or the shards model-*.safetensors
//   and their index, or else every *.safetensors;
// less what `exclude` fits. Errors (kind model) name the repository: nothing fits, pickled weights
// alone, a name that may not be a path here. Error (kind usage): a quant that fits several files.
Result<SelectedFiles> select_files(const HubModel& model, const std::vector<std::string>& names,
                                   const FileChoice& choice);

// The first part that is not among `names` of a file in parts (NAME-00001-of-00003.EXTENSION) that
// has others there; empty when none is missing.
std::string missing_part(const std::vector<std::string>& names);

}  // namespace dunlin
