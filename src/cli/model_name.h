// MODEL on the command line, where it is the name of a model of the hub or of ollama.
#pragma once

#include <string>

#include "base/result.h"

namespace dunlin {

// For Flag::transform: a name becomes the path that find_model() has for it. Errors are those of
// find_model().
Result<std::string> resolve_model(const std::string& name);

// What find_model() noted of the model that became `path`; "" for all others.
std::string model_note(const std::string& path);

}  // namespace dunlin
