#include "cli/command_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <span>
#include <string_view>

#include "cli/argv.h"
#include "cli/flags.h"
#include "cli/settings_file.h"
#include "cli/value_layers.h"

namespace dunlin {
namespace {

// What the arguments name before the first flag: the command and its subcommands.
struct CommandPath {
  const CLI::App* last = nullptr;       // the program itself when no command is named
  size_t words = 0;                     // arguments that are commands
  std::string unknown = {};             // what comes where a subcommand must, and is none
  std::vector<std::string> flags = {};  // of all commands on the path, "--name" and "-n"
};

void collect_flags(const CLI::App& command, std::vector<std::string>& names) {
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) {
      names.push_back("--" + name);
      if (const std::string abbreviation = short_flag_of("--" + name); !abbreviation.empty())
        names.push_back(abbreviation);
    }
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
  }
}

CommandPath find_command(const CLI::App& app, const std::vector<std::string>& arguments) {
  CommandPath path{.last = &app};
  collect_flags(app, path.flags);
  for (const std::string& argument : arguments) {
    const auto commands = path.last->get_subcommands({});
    if (commands.empty() || argument.starts_with('-')) break;
    const auto it = std::ranges::find(commands, argument, &CLI::App::get_name);
    if (it == commands.end()) {
      path.unknown = argument;
      break;
    }
    path.last = *it;
    ++path.words;
    collect_flags(**it, path.flags);
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
    const CLI::Option* const option = path.last->get_option_no_throw(name);
    if (option != nullptr && takes_value(*option) && name == arguments[i]) ++i;
  }
}

// CLI11 takes single letters only as short flags: -np and its like become the long flags.
void rewrite_short_flags(const CommandPath& path, std::vector<std::string>& arguments) {
  for_each_flag(path, arguments, [&path](std::string& argument, std::string& name) {
    const std::string long_flag = long_flag_of(name);
    if (path.last->get_option_no_throw(long_flag) == nullptr) return;
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
void split_empty_values(const CLI::App& command, std::vector<std::string>& arguments) {
  for (size_t i = 0; i < arguments.size() && arguments[i] != "--"; ++i) {
    if (!arguments[i].starts_with("--") || !arguments[i].ends_with('=')) continue;
    const std::string name = arguments[i].substr(0, arguments[i].size() - 1);
    const CLI::Option* const option = command.get_option_no_throw(name);
    if (option == nullptr || !takes_value(*option)) continue;
    arguments[i] = name;
    arguments.insert(arguments.begin() + static_cast<ptrdiff_t>(++i), "");
  }
}

struct Parsed {};

template <typename F>
void for_each_option(CLI::App& command, F&& f) {
  for (CLI::Option* option : command.get_options()) f(*option);
  for (CLI::App* each : command.get_subcommands({})) for_each_option(*each, f);
}

// During its life CLI11 does not see the variables of options. It would read those of every
// command, not only of the one that runs; complete_command_line() reads them.
class HiddenVariables {
 public:
  explicit HiddenVariables(CLI::App& app) {
    for_each_option(app, [this](CLI::Option& option) {
      names_[&option] = option.get_envname();
      option.envname("");
    });
  }
  ~HiddenVariables() {
    for (const auto& [option, name] : names_) option->envname(name);
  }
  HiddenVariables(const HiddenVariables&) = delete;
  HiddenVariables& operator=(const HiddenVariables&) = delete;

 private:
  std::map<CLI::Option*, std::string> names_ = {};
};

// The file that --config or its variable names.
std::optional<std::string> named_settings_file(const CLI::Option& config) {
  if (config.count() > 0) return config.results().back();
  const char* const text = std::getenv(config.get_envname().c_str());
  return text == nullptr ? std::nullopt : std::optional<std::string>(text);
}

// Counts what the line gives to each option. What is wrong with it is told when all of it is
// parsed. False: it asks for help, so nothing else matters.
bool count_options(CLI::App& app, const CommandLine& line) {
  try {
    parse(app, line, /*run=*/false);
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

}  // namespace

void add_configuration_flags(CLI::App& command) {
  for (CLI::App* each : command.get_subcommands({})) add_configuration_flags(*each);
  if (command.get_option_no_throw("--model") == nullptr) return;
  // Both are looked at before the command is parsed for good.
  command
      .add_option(kConfigFlag, CLI::callback_t([](const CLI::results_t&) { return true; }),
                  "TOML file with values of flags (default: ~/.config/dunlin/config.toml; "
                  "\"\": none)")
      ->type_name("FILE")
      ->envname(environment_name("config"))
      ->group("Configuration");
  command.add_flag(kPrintConfigFlag)
      ->description("print every value and where it comes from, and leave")
      ->group("Configuration");
}

Result<CommandLine> complete_command_line(const AddCommands& add_commands,
                                          const std::vector<std::string>& arguments) {
  CommandLine line{.arguments = arguments};
  CLI::App app;
  int unused = 0;
  add_commands(app, unused);
  const CommandPath path = find_command(app, line.arguments);
  rewrite_short_flags(path, line.arguments);
  split_empty_values(*path.last, line.arguments);

  if (!count_options(app, line)) return line;
  line.unknown_flag = find_unknown_flag(path, line.arguments);
  if (!line.unknown_flag.empty()) return line;
  warn_of_unknown_variables(app);
  LayeredValues layers(*path.last);
  layers.add(variables_of(*path.last));
  if (const CLI::Option* const config = path.last->get_option_no_throw(kConfigFlag)) {
    const auto words = std::span(line.arguments).first(path.words);
    DUNLIN_ASSIGN_OR_RETURN(const auto settings, read_settings(named_settings_file(*config), app));
    for (const std::string& name : {fmt::format("{}", fmt::join(words, " ")), std::string()}) {
      DUNLIN_ASSIGN_OR_RETURN(const Layer layer, settings_of(*path.last, settings, name));
      layers.add(layer);
    }
    line.print_config = path.last->get_option(kPrintConfigFlag)->count() > 0;
  }
  line.arguments.insert(line.arguments.begin() + static_cast<ptrdiff_t>(path.words),
                        layers.arguments().begin(), layers.arguments().end());
  line.origins = layers.origins();
  return line;
}

void parse(CLI::App& app, const CommandLine& line, bool run) {
  if (!line.unknown_flag.empty()) throw CLI::ExtrasError(std::vector{line.unknown_flag});
  const HiddenVariables hidden(app);
  if (!run) {
    for_each_option(app, [](CLI::Option& option) { option.required(false); });
    app.parse_complete_callback([] { throw Parsed(); });
  }
  try {
    // CLI11 takes them from the back.
    app.parse(std::vector<std::string>(line.arguments.rbegin(), line.arguments.rend()));
  } catch (const Parsed&) {
  }
}

std::string usage_message(const CLI::App& app, const CLI::ParseError& error,
                          const CommandLine& line) {
  const CommandPath path = find_command(app, line.arguments);
  if (!path.unknown.empty()) {
    std::vector<std::string> names;
    for (const CLI::App* command : path.last->get_subcommands({}))
      names.push_back(command->get_name());
    return unknown_name(path.unknown, "command", names);
  }
  if (!line.unknown_flag.empty()) return unknown_name(line.unknown_flag, "flag", path.flags);
  return with_origins(plain_words(error), line.origins);
}

}  // namespace dunlin
