// Commands that must fail: exit code, message, and nothing written.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "process.h"
#include "support/temporary_folder.h"

namespace dunlin {

struct ErrorCase {
  std::vector<std::string> arguments;  // after the command
  int code;
  std::string message;  // a part of stderr
};

// Runs `dunlin COMMAND` with each: nothing on stdout, and the files of `folder` stay the same.
void expect_errors(const std::string& command, std::span<const ErrorCase> cases,
                   const TemporaryFolder& folder);

}  // namespace dunlin
