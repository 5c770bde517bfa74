#include "cli/command_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <span>
#include <string_view>

#include "cli/argv.h"
#include "cli/parser.h"
#include "cli/settings_file.h"
#include "cli/terminal.h"
#include "cli/value_layers.h"

namespace dunlin {
namespace {

// What the arguments name before the first flag: the command and its subcommands.
struct CommandPath {
  Command last;                         // the program itself when no command is named
  size_t words = 0;                     // arguments that are commands
  std::string unknown = {};             // what comes where a subcommand must, and is none
  std::vector<std::string> flags = {};  // of all commands on the path, "--name" and "-n"
};

void collect_flags(const Command& command, std::vector<std::string>& names) {
  for (const Flag& flag : command.flags()) {
    for (const std::string& name : flag.long_names()) {
      names.push_back("--" + name);
      if (const std::string abbreviation = short_flag_of("--" + name); !abbreviation.empty())
        names.push_back(abbreviation);
    }
    for (const std::string& name : flag.short_names()) names.push_back("-" + name);
  }
}

CommandPath find_command(const Command& program, const std::vector<std::string>& arguments) {
  CommandPath path{.last = program};
  collect_flags(program, path.flags);
  for (const std::string& argument : arguments) {
    if (path.last.subcommands().empty() || argument.starts_with('-')) break;
    const std::optional<Command> below = path.last.find_subcommand(argument);
    if (!below) {
      path.unknown = argument;
      break;
    }
    path.last = *below;
    ++path.words;
    collect_flags(*below, path.flags);
  }
  return path;
}

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// The name in an argument that is a flag: --threads of --threads=2, -t of -t4, -np of -np; empty for
// others, such as -1. Letters after a single dash are one name: -ngl is not -n with the value gl.
std::string flag_name(const std::string& argument) {
  const auto is_letter_at = [&argument](size_t i) {
    return i < argument.size() && is_letter(argument[i]);
  };
  if (argument.starts_with("--"))
    return is_letter_at(2) ? argument.substr(0, argument.find('=')) : std::string();
  if (!argument.starts_with('-') || !is_letter_at(1)) return {};
  size_t end = 2;
  while (is_letter_at(end) || (is_letter_at(end + 1) && argument[end] == '-')) ++end;
  return argument.substr(0, end);
}

// Calls f(argument, name) for each argument that is a flag, and not the value of the one before it.
template <typename Arguments, typename F>
void for_each_flag(const CommandPath& path, Arguments& arguments, F&& f) {
  for (size_t i = path.words; i < arguments.size() && arguments[i] != "--"; ++i) {
    std::string name = flag_name(arguments[i]);
    if (name.empty()) continue;
    f(arguments[i], name);
    const std::optional<Flag> flag = path.last.find_flag(name);
    if (flag && flag->takes_value() && name == arguments[i]) ++i;
  }
}

// CLI11 takes single letters only as short flags: -np and its like become the long flags.
void rewrite_short_flags(const CommandPath& path, std::vector<std::string>& arguments) {
  for_each_flag(path, arguments, [&path](std::string& argument, std::string& name) {
    const std::string long_flag = long_flag_of(name);
    if (!path.last.find_flag(long_flag)) return;
    argument.replace(0, name.size(), long_flag);
    name = long_flag;
  });
}

// The first argument that looks like a flag and is none, without its value; empty when there is
// none.
std::string find_unknown_flag(const CommandPath& path, const std::vector<std::string>& arguments) {
  std::string unknown;
  for_each_flag(path, arguments, [&](const std::string&, const std::string& name) {
    const bool known = std::ranges::find(path.flags, name) != path.flags.end();
    if (unknown.empty() && !known) unknown = name;
  });
  return unknown;
}

// CLI11 takes the next argument for the value of `--flag=`; as two arguments the value is empty.
void split_empty_values(const Command& command, std::vector<std::string>& arguments) {
  for (size_t i = 0; i < arguments.size() && arguments[i] != "--"; ++i) {
    if (!arguments[i].starts_with("--") || !arguments[i].ends_with('=')) continue;
    const std::string name = arguments[i].substr(0, arguments[i].size() - 1);
    const std::optional<Flag> flag = command.find_flag(name);
    if (!flag || !flag->takes_value()) continue;
    arguments[i] = name;
    arguments.insert(arguments.begin() + static_cast<ptrdiff_t>(++i), "");
  }
}

struct Parsed {};

std::vector<Flag> all_flags(const Command& command) {
  std::vector<Flag> flags = command.flags();
  for (const Command& each : command.subcommands()) {
    const std::vector<Flag> more = all_flags(each);
    flags.insert(flags.end(), more.begin(), more.end());
  }
  return flags;
}

// During its life CLI11 does not see the variables of flags. It would read those of every command,
// not only of the one that runs; complete_command_line() reads them.
class HiddenVariables {
 public:
  explicit HiddenVariables(const Command& program) : hidden_(all_flags(program)) {
    for (Flag& flag : hidden_) {
      names_.push_back(flag.variable());
      flag.variable("");
    }
  }
  ~HiddenVariables() {
    for (size_t i = 0; i < hidden_.size(); ++i) hidden_[i].variable(names_[i]);
  }
  HiddenVariables(const HiddenVariables&) = delete;
  HiddenVariables& operator=(const HiddenVariables&) = delete;

 private:
  std::vector<Flag> hidden_;
  std::vector<std::string> names_ = {};
};

// The file that --config or its variable names.
std::optional<std::string> named_settings_file(const Flag& config) {
  if (config.count() > 0) return config.values().back();
  const char* const text = std::getenv(config.variable().c_str());
  return text == nullptr ? std::nullopt : std::optional<std::string>(text);
}

// As parse(), but throws what CLI11 throws.
void parse_or_throw(const Command& program, const CommandLine& line, bool run) {
  if (!line.unknown_flag.empty()) throw CLI::ExtrasError(std::vector{line.unknown_flag});
  const HiddenVariables hidden(program);
  CLI::App& app = app_of(program);
  if (!run) {
    for (Flag& flag : all_flags(program)) flag.required(false);
    app.parse_complete_callback([] { throw Parsed(); });
  }
  try {
    // CLI11 takes them from the back.
    app.parse(std::vector<std::string>(line.arguments.rbegin(), line.arguments.rend()));
  } catch (const Parsed&) {
  }
}

// Counts what the line gives to each flag. What is wrong with it is told when all of it is parsed.
// False: it asks for help, so nothing else matters.
bool count_flags(const Command& program, const CommandLine& line) {
  try {
    parse_or_throw(program, line, /*run=*/false);
  } catch (const CLI::CallForHelp&) {
    return false;
  } catch (const CLI::Error&) {
  }
  return true;
}

// `text` with the name of each flag, as a word, replaced by the origin of its value.
std::string with_origins(std::string text, const std::map<std::string, std::string>& origins) {
  for (const auto& [name, origin] : origins) {
    const size_t at = text.find(name);
    if (at == std::string::npos || (at > 0 && text[at - 1] != ' ')) continue;
    const size_t end = at + name.size();
    if (end < text.size() && text[end] != ' ' && text[end] != ':') continue;
    text.replace(at, name.size(), origin);
  }
  return text;
}

std::string plain_words(const CLI::ParseError& error) {
  std::string text = error.what();
  const auto replace = [&text](std::string_view from, std::string_view to) {
    if (const size_t at = text.find(from); at != std::string::npos)
      text.replace(at, from.size(), to);
  };
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr) {
    const size_t colon = text.find(": ");
    if (text.find("At Most 1 required") != std::string::npos)
      return text.substr(0, colon) + " is given more than once";
    if (text.ends_with(" missing")) return text.substr(0, colon) + " needs a value";
  }
  if (dynamic_cast<const CLI::ExcludesError*>(&error) != nullptr)
    replace(" excludes ", " cannot be given together with ");
  if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr)
    replace("A subcommand is required", "a command is missing");
  return text;
}

// What is wrong with the command line, in one line.
std::string usage_message(const Command& program, const CLI::ParseError& error,
                          const CommandLine& line) {
  const CommandPath path = find_command(program, line.arguments);
  if (!path.unknown.empty())
    return unknown_name(path.unknown, "command", path.last.subcommand_names());
  if (!line.unknown_flag.empty()) return unknown_name(line.unknown_flag, "flag", path.flags);
  return with_origins(plain_words(error), line.origins);
}

// Or reads one to write another, or fetches one.
bool is_about_a_model(const Command& command) {
  for (const char* const name : {"--model", "in", "repo"}) {
    if (command.find_flag(name)) return true;
  }
  return false;
}

}  // namespace

void add_configuration_flags(Command command) {
  for (const Command& each : command.subcommands()) add_configuration_flags(each);
  if (!is_about_a_model(command)) return;
  // Both are looked at before the command is parsed for good.
  CLI::App& app = app_of(command);
  app.add_option(kConfigFlag, CLI::callback_t([](const CLI::results_t&) { return true; }),
                 "TOML file with values of flags (default: ~/.config/dunlin/config.toml; "
                 "\"\": none)")
      ->type_name("FILE")
      ->envname(environment_name("config"))
      ->group("Configuration");
  app.add_flag(kPrintConfigFlag)
      ->description("print every value and where it comes from, and leave")
      ->group("Configuration");
}

Result<CommandLine> complete_command_line(const AddCommands& add_commands,
                                          const std::vector<std::string>& arguments) {
  CommandLine line{.arguments = arguments};
  const CommandTree tree;
  const Command program = tree.root();
  int unused = 0;
  add_commands(program, unused);
  const CommandPath path = find_command(program, line.arguments);
  rewrite_short_flags(path, line.arguments);
  split_empty_values(path.last, line.arguments);

  const std::string unknown = find_unknown_flag(path, line.arguments);
  const bool asks_for_help = !count_flags(program, line);
  // CLI11 takes -hf for -h.
  if (!asks_for_help || unknown.starts_with("-h")) line.unknown_flag = unknown;
  if (asks_for_help || !unknown.empty()) return line;
  warn_of_unknown_variables(program);
  LayeredValues layers(path.last);
  layers.add(variables_of(path.last));
  if (const std::optional<Flag> config = path.last.find_flag(kConfigFlag)) {
    const auto words = std::span(line.arguments).first(path.words);
    DUNLIN_ASSIGN_OR_RETURN(const auto settings,
                            read_settings(named_settings_file(*config), program));
    for (const std::string& name : {fmt::format("{}", fmt::join(words, " ")), std::string()}) {
      DUNLIN_ASSIGN_OR_RETURN(const Layer layer, settings_of(path.last, settings, name));
      layers.add(layer);
    }
    line.print_config = path.last.flag(kPrintConfigFlag).count() > 0;
  }
  line.arguments.insert(line.arguments.begin() + static_cast<ptrdiff_t>(path.words),
                        layers.arguments().begin(), layers.arguments().end());
  line.origins = layers.origins();
  return line;
}

std::optional<int> parse(Command program, const CommandLine& line, bool run) {
  try {
    parse_or_throw(program, line, run);
    return std::nullopt;
  } catch (const CLI::CallForHelp& help) {
    return app_of(program).exit(help);  // prints it
  } catch (const CLI::CallForVersion& version) {
    fmt::print("{}\n", version.what());
    return 0;
  } catch (const TransformError& error) {
    return report_error(error.error());
  } catch (const CLI::ParseError& error) {
    note("error: {}\n", usage_message(program, error, line));
    note("`dunlin help` lists the commands, `dunlin COMMAND --help` its flags\n");
    return static_cast<int>(ErrorKind::usage);
  }
}

}  // namespace dunlin
