// MODEL on the command line, where it is the name of a model of the hub or of ollama.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "base/result.h"

namespace dunlin {

// For Option::check: a name becomes the path that find_model() has for it. Throws ModelNotFound.
CLI::Validator model_name();

// A name that find_model() does not find: unlike other mistakes of a command line it has the exit
// code of a model that cannot be read.
class ModelNotFound : public CLI::ParseError {
 public:
  explicit ModelNotFound(dunlin::Error error);
  const dunlin::Error& error() const { return error_; }

 private:
  dunlin::Error error_;  // inside, plain Error is the base class of CLI11
};

// What find_model() noted of the model that became `path`; "" for all others.
std::string model_note(const std::string& path);

}  // namespace dunlin
