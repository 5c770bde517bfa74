// Commands and their flags, as the files that add them and those that list them see them. CLI11
// parses them; it takes seconds to compile, so only cli/parser.h includes it.
#pragma once

#include <compare>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace dunlin {

// DUNLIN_ARG_MAX_TOKENS for "max-tokens".
std::string environment_name(const std::string& long_name);

// Takes one value of a flag; returns why it is refused, or nothing.
using TakeValue = std::function<std::string(const std::string& text)>;

// What a value of a flag must be.
struct Check {
  TakeValue problem;
  std::string words = {};  // "cpu|reference", for --help, where the value is one of some words
};

// A flag of a command, or an argument that has a place instead of a name. A handle: copies are of
// the same flag, which lives as long as its CommandTree.
class Flag {
 public:
  explicit Flag(CLI::Option& option) : option_(&option) {}

  Flag& required(bool required = true);
  Flag& type_name(const std::string& name);    // stands for the value in --help: "FILE"
  Flag& default_str(const std::string& text);  // what --help shows as the default
  Flag& delimiter(char delimiter);             // between values in one text
  Flag& excludes(Flag other);                  // each the other
  Flag& needs(Flag other);
  Flag& group(const std::string& heading);  // of --help
  Flag& variable(const std::string& name);  // "" for none
  Flag& check(const Check& check);          // of every value, after transform()
  // `transform` makes the value that counts from the given one. Its error ends the parsing, and has
  // the exit code of its kind.
  Flag& transform(const std::function<Result<std::string>(const std::string& text)>& transform);

  // "--max-tokens"; "model" for what has a place alone.
  std::string name() const;
  bool has_name(const std::string& name) const;         // "--max-tokens", "-n" or "model"
  const std::vector<std::string>& long_names() const;   // without dashes
  const std::vector<std::string>& short_names() const;  // without dashes
  bool is_positional() const;                           // has a place
  bool is_named() const;                                // has names, perhaps besides a place
  const std::string& description() const;
  // What stands for the value: "N", "FILE", or its words: "cpu|reference". Empty for a switch.
  std::string value_kind() const;
  std::string default_str() const;
  std::string variable() const;
  bool takes_value() const;  // false for a switch
  bool takes_list() const;
  std::vector<Flag> excluded() const;
  std::vector<Flag> needed() const;

  // Of the line that was parsed.
  size_t count() const;
  const std::vector<std::string>& values() const;

  friend auto operator<=>(const Flag&, const Flag&) = default;

 private:
  CLI::Option* option_;
};

// A command, or the program itself, whose commands are below it. A handle like Flag.
class Command {
 public:
  explicit Command(CLI::App& app) : app_(&app) {}

  // A command below this one.
  Command add_command(const std::string& name, const std::string& description);
  void description(const std::string& text);
  void footer(const std::string& text);  // of --help
  void callback(const std::function<void()>& run);
  void require_subcommand();  // one of them
  void version_flag(const std::string& name, const std::string& text);

  // What the functions of cli/flags.h are made of. `kind` stands for the value in --help. A list
  // takes one value per occurrence. A flag has the variable of its first long name.
  Flag add_value(const std::string& names, const std::string& help, const std::string& kind,
                 bool list, const TakeValue& take);
  Flag add_switch(const std::string& names, const std::string& help, bool& value);
  // All arguments from this place on; no variable.
  Flag add_arguments(const std::string& name, const std::string& help,
                     std::vector<std::string>& values);

  std::string name() const;
  std::string description() const;
  std::string help() const;
  std::vector<Command> subcommands() const;  // in the order in which they were added
  std::vector<std::string> subcommand_names() const;
  std::optional<Command> find_subcommand(const std::string& name) const;
  std::vector<Flag> flags() const;           // positional ones too, in that order
  Flag flag(const std::string& name) const;  // which it has
  std::optional<Flag> find_flag(const std::string& name) const;

  // The subcommand that the parsed line names.
  std::optional<Command> selected() const;

 private:
  friend CLI::App& app_of(const Command& command);

  CLI::App* app_;
};

// Owns the commands of a program.
class CommandTree {
 public:
  CommandTree();
  ~CommandTree();
  CommandTree(const CommandTree&) = delete;
  CommandTree& operator=(const CommandTree&) = delete;

  Command root() const { return Command(*app_); }  // the program itself

 private:
  std::unique_ptr<CLI::App> app_;
};

}  // namespace dunlin
