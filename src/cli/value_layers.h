// Values for the flags that a command line leaves open, from layers below it: the environment, the
// configuration file.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/command.h"
#include "cli/settings_file.h"

namespace dunlin {

// What one layer has for a flag.
struct Offer {
  std::vector<std::string> values = {};
  std::string origin = {};  // for messages
};
using Layer = std::map<Flag, Offer>;

// The variables of the command's flags. An empty variable is none for a switch.
Layer variables_of(const Command& command);

// Warns of each DUNLIN_ARG_ variable that no flag of any command has, which would be ignored in
// silence. No error: other versions have other flags.
void warn_of_unknown_variables(const Command& program);

// The settings of a file for the command of that name ("bench model"); "" for those for all
// commands. Error (kind usage): two names of one flag.
Result<Layer> settings_of(const Command& command, const std::vector<FileSetting>& settings,
                          const std::string& name);

// Takes layers, the strongest first. A flag that excludes one of a stronger layer, or needs one that
// nobody gives, gets no value. Two of one layer that exclude each other both go in, for the parser
// to refuse.
class LayeredValues {
 public:
  // `command` has parsed the line without running it.
  explicit LayeredValues(const Command& command);

  void add(const Layer& layer);

  // What was added, as arguments, and the origin of each by the flag's name.
  const std::vector<std::string>& arguments() const { return arguments_; }
  const std::map<std::string, std::string>& origins() const { return origins_; }

 private:
  void add(const Flag& flag, const Offer& offer);

  Command command_;
  std::set<Flag> taken_ = {};
  std::vector<std::string> arguments_ = {};
  std::map<std::string, std::string> origins_ = {};
};

}  // namespace dunlin
