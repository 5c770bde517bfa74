// Names of the hub: of models as people write them, and of revisions and files as servers send them,
// which become paths on this machine and so are checked.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace dunlin {

// A model of the hub: all that makes a Hugging Face directory, or one GGUF file of the repository.
struct HubModel {
  std::string repo = {};   // "ORG/NAME", or "NAME" of the hub's first models
  std::string quant = {};  // "Q4_K_M" of ORG/NAME:Q4_K_M
  std::string file = {};   // "sub/model.gguf" of ORG/NAME/sub/model.gguf

  // As it was written.
  std::string text() const;
};

// "[hf:]ORG/NAME[:QUANT]", "[hf:]ORG/NAME/FILE.gguf" or "[hf:]NAME". Error (kind usage): anything else.
Result<HubModel> parse_hub_model(const std::string& text);

// Letters, digits, '-', '_', '.', one '/' between owner and name, each at most
// 96 bytes, as huggingface_hub's validate_repo_id has it.
bool is_repo_id(std::string_view text);

// Why `path` may not be used below a folder of this machine, to follow the name in a message; empty
// when it may. Refused are absolute paths, "..", backslashes, control characters, text that is not
// UTF-8, `.git`, and names that are longer than file systems take (255 bytes, 1024 in all).
std::string path_problem(std::string_view path);

}  // namespace dunlin
