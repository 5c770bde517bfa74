// dunlin: one binary, a thin file per subcommand.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "cli/argv.h"
#include "cli/commands.h"

namespace dunlin {
namespace {

constexpr int kUsage = 2;

// The command's own flags and those of the whole program, for suggestions.
std::vector<std::string> known_flags(const CLI::App& app) {
  std::vector<std::string> names;
  const auto collect = [&names](const CLI::App* command) {
    for (const CLI::Option* option : command->get_options()) {
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    }
  };
  collect(&app);
  for (const CLI::App* command : app.get_subcommands()) collect(command);
  return names;
}

int usage_failure(const CLI::App& app, const CLI::ParseError& error,
                  const std::vector<std::string>& arguments) {
  std::string hint;
  for (const std::string& argument : arguments) {
    const std::string name = argument.substr(0, argument.find('='));
    const auto names = known_flags(app);
    if (!name.starts_with("--") || std::ranges::find(names, name) != names.end()) continue;
    const std::string nearest = nearest_name(name, names);
    hint = nearest.empty() ? fmt::format("{} is not a flag", name)
                           : fmt::format("{} is not a flag; did you mean {}?", name, nearest);
    break;
  }
  fmt::print(stderr, "error: {}\n", hint.empty() ? std::string(error.what()) : hint);
  fmt::print(stderr, "`dunlin help` lists the commands, `dunlin COMMAND --help` its flags\n");
  return kUsage;
}

int run_main(int argc, char** argv) {
  CLI::App app("dunlin: run large language models");
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("dunlin ") + DUNLIN_VERSION);
  int exit_code = 0;
  add_run_command(app, exit_code);
  add_verify_command(app, exit_code);

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
    return usage_failure(app, error, arguments);
  }
  return exit_code;
}

}  // namespace
}  // namespace dunlin

int main(int argc, char** argv) {
  try {
    return dunlin::run_main(argc, argv);
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "error: out of memory\n");
    return 1;
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 1;
  }
}
