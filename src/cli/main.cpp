// dunlin: one binary, a thin file per subcommand.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <exception>
#include <new>
#include <string>
#include <system_error>
#include <vector>

#include "cli/argv.h"
#include "cli/commands.h"
#include "cli/terminal.h"
#include "cli/version.h"

namespace dunlin {
namespace {

constexpr int kUsage = 2;

// What the arguments name before the first flag: the command and its subcommands.
struct CommandPath {
  const CLI::App* last;            // the program itself when no command is named
  std::string unknown;             // what comes where a subcommand must, and is none
  std::vector<std::string> flags;  // of all commands on the path, "--name" and "-n"
};

void collect_flags(const CLI::App& command, std::vector<std::string>& names) {
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
  }
}

CommandPath find_command(const CLI::App& app, const std::vector<std::string>& arguments) {
  CommandPath path{.last = &app, .unknown = {}, .flags = {}};
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
    collect_flags(**it, path.flags);
  }
  return path;
}

// Whether an argument looks like a flag that `known` does not have. -t4 is -t with its value, and
// -1 is a number.
bool is_unknown_flag(const std::string& argument, const std::vector<std::string>& known) {
  if (argument.size() < 2 || argument[0] != '-' || (argument[1] >= '0' && argument[1] <= '9'))
    return false;
  const bool is_long = argument[1] == '-';
  const std::string name = is_long ? argument.substr(0, argument.find('=')) : argument.substr(0, 2);
  return name != "--" && std::ranges::find(known, name) == known.end();
}

std::string usage_message(const CLI::App& app, const CLI::ParseError& error,
                          const std::vector<std::string>& arguments) {
  const CommandPath path = find_command(app, arguments);
  if (!path.unknown.empty()) {
    std::vector<std::string> names;
    for (const CLI::App* command : path.last->get_subcommands({}))
      names.push_back(command->get_name());
    return unknown_name(path.unknown, "command", names);
  }
  for (const std::string& argument : arguments) {
    if (argument == "--") break;
    if (is_unknown_flag(argument, path.flags))
      return unknown_name(argument.substr(0, argument.find('=')), "flag", path.flags);
  }
  return error.what();
}

int run_main(int argc, char** argv) {
  CLI::App app("dunlin: run large language models");
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("dunlin ") + version());
  int exit_code = 0;
  add_run_command(app, exit_code);
  add_chat_command(app, exit_code);
  add_inspect_command(app, exit_code);
  add_tokenize_command(app, exit_code);
  add_detokenize_command(app, exit_code);
  add_verify_command(app, exit_code);
  add_bench_command(app, exit_code);
  add_plan_command(app, exit_code);
  add_devices_command(app, exit_code);
  add_version_command(app, exit_code);
  add_help_command(app, exit_code);

  const std::vector<std::string> given(argv + 1, argv + argc);
  std::vector<std::string> arguments = rewrite_short_flags(given);
  std::vector<std::string> reversed(arguments.rbegin(),
                                    arguments.rend());  // CLI11 takes them from the back
  try {
    app.parse(std::move(reversed));
  } catch (const CLI::CallForHelp&) {
    return app.exit(CLI::CallForHelp());
  } catch (const CLI::CallForAllHelp&) {
    return app.exit(CLI::CallForAllHelp());
  } catch (const CLI::CallForVersion& version) {
    fmt::print("{}\n", version.what());
    return 0;
  } catch (const CLI::ParseError& error) {
    note("error: {}\n", usage_message(app, error, arguments));
    note("`dunlin help` lists the commands, `dunlin COMMAND --help` its flags\n");
    return kUsage;
  }
  return exit_code;
}

}  // namespace
}  // namespace dunlin

int main(int argc, char** argv) {
  try {
    return dunlin::finish_stdout(dunlin::run_main(argc, argv));
  } catch (const std::bad_alloc&) {
    dunlin::note("error: out of memory\n");
    return 1;
  } catch (const std::system_error& error) {
    if (error.code().value() == EPIPE) return 0;  // the reader of stdout has gone
    dunlin::note("error: {}\n", error.what());
    return 1;
  } catch (const std::exception& error) {
    dunlin::note("error: {}\n", error.what());
    return 1;
  }
}
