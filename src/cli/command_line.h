// The command line as CLI11 gets it, and what comes of it. Values that the environment or the
// configuration file gives are put in as arguments, so that all values go one way, and errors name
// where a value came from.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/command.h"

namespace dunlin {

// Adds every command; each sets the exit code when it has run.
using AddCommands = std::function<void(Command program, int& exit_code)>;

struct CommandLine {
  std::vector<std::string> arguments = {};  // without the program's name
  // Where the values of flags come from that are not on the command line: "--temp" to
  // "DUNLIN_ARG_TEMP" or "config.toml:3: temp".
  std::map<std::string, std::string> origins = {};
  bool print_config = false;
  std::string unknown_flag = {};  // the first one; parse() refuses the line
};

inline constexpr const char* kConfigFlag = "--config";
inline constexpr const char* kPrintConfigFlag = "--print-config";

// Adds both to the command and those below it where they read, write or fetch a model. After all other
// commands.
void add_configuration_flags(Command command);

// Rewrites short flags, and adds values for flags of the command that are not given: of the
// environment, then of the configuration file. A flag that excludes a given one, or needs one that
// is not given, gets no value. Errors (kind usage): a configuration file that cannot be read.
Result<CommandLine> complete_command_line(const AddCommands& add_commands,
                                          const std::vector<std::string>& arguments);

// Parses the line and runs its command; without `run` nothing is required, and no command runs. The
// exit code where that is all: the line asks for help or the version, which go to stdout, or
// something is wrong with it, which stderr is told.
std::optional<int> parse(Command program, const CommandLine& line, bool run);

}  // namespace dunlin
