// MODEL where it is not a path: a name of the hub or of ollama, found in what is on this machine.
#pragma once

#include <string>

#include "base/result.h"

namespace dunlin {

struct FoundModel {
  std::string path = {};
  std::string note = {};  // for people: what of it is not used
};

// What there is under the path `name` goes first; then
//   hf:ORG/NAME[:QUANT], hf:ORG/NAME/FILE.gguf, or without hf:     in Hugging Face's cache
//   ollama:NAME[:TAG], or without ollama: when there is one        in ollama's store
// Any other name is returned as it is, for whoever opens it to complain. No network is used. Errors
// (kind model): the name is of one of these forms, and it is not there; says how to fetch it.
Result<FoundModel> find_model(const std::string& name);

}  // namespace dunlin
