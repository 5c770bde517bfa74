// --print-config: every value of a command with its origin, as a configuration file.
#pragma once

#include "base/result.h"
#include "cli/command.h"
#include "cli/command_line.h"

namespace dunlin {

// Prints to stdout. `program` has parsed the line. Where no other layer has a value, the configuration of
// the model that the line names is read for one; errors are those of reading it.
Result<void> print_config(const Command& program, const CommandLine& line);

}  // namespace dunlin
