// The configuration file: values for flags that neither the command line nor the environment gives.
//
//     model = "/models/smollm2.gguf"
//     temp = 0.3          # for every command that has the flag
//     [run]               # for one command; [bench.model] for one below another
//     max-tokens = 200
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/command.h"

namespace dunlin {

struct FileSetting {
  std::string command = {};              // "run", "bench model"; empty: every command
  std::string flag = {};                 // a long name, "--max-tokens"
  std::vector<std::string> values = {};  // as they would be on a command line
  std::string where = {};                // "config.toml:3: max-tokens", for messages
};

// Every setting of a TOML text. Errors (kind usage) begin with `origin:line`: syntax, a value that
// is neither text, number, truth value nor a list of them, and a name that no flag or command of
// `program` has, with the nearest one.
Result<std::vector<FileSetting>> parse_settings(const std::string& text, const std::string& origin,
                                                const Command& program);

// The settings of the file at `path`; without one those of
// ${XDG_CONFIG_HOME:-~/.config}/dunlin/config.toml where that is there. An empty path is no file.
Result<std::vector<FileSetting>> read_settings(const std::optional<std::string>& path,
                                               const Command& program);

}  // namespace dunlin
