// Commands and flags as CLI11 knows them, for the few files that hand it the command line or format
// its help.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "base/result.h"
#include "cli/command.h"

namespace dunlin {

CLI::App& app_of(const Command& command);

// As Flag::value_kind().
std::string value_kind(const CLI::Option& option);

// A value that Flag::transform() makes nothing of. Unlike other mistakes of a command line it has
// the exit code of its error.
class TransformError : public CLI::ParseError {
 public:
  explicit TransformError(const dunlin::Error& error)
      : CLI::ParseError(error.message, static_cast<int>(error.kind)), error_(error) {}
  const dunlin::Error& error() const { return error_; }

 private:
  dunlin::Error error_;  // inside, plain Error is the base class of CLI11
};

}  // namespace dunlin
