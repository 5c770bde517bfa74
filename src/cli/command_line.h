// The command line as CLI11 gets it. Values that the environment or the configuration file gives are
// put in as arguments, so that all values go one way, and errors name where a value came from.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"

namespace dunlin {

// Adds every command; each sets the exit code when it has run.
using AddCommands = std::function<void(CLI::App& app, int& exit_code)>;

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

// Adds both to every command that has a model. After all other commands.
void add_configuration_flags(CLI::App& app);

// Rewrites short flags, and adds values for flags of the command that are not given: of the
// environment, then of the configuration file. A flag that excludes a given one, or needs one that
// is not given, gets no value. Errors (kind usage): a configuration file that cannot be read.
Result<CommandLine> complete_command_line(const AddCommands& add_commands,
                                          const std::vector<std::string>& arguments);

// Parses the line; without `run` nothing is required, and no command runs. Throws what CLI11 throws.
void parse(CLI::App& app, const CommandLine& line, bool run);

// What is wrong with the command line, in one line.
std::string usage_message(const CLI::App& app, const CLI::ParseError& error,
                          const CommandLine& line);

}  // namespace dunlin
