// `dunlin help`: the commands, or the flags of one.
#include <fmt/format.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/argv.h"
#include "cli/commands.h"
#include "cli/inside_flags.h"
#include "cli/terminal.h"
#include "report/table.h"

namespace dunlin {
namespace {

void print_commands(const Command& app) {
  std::vector<std::vector<std::string>> rows;
  for (const Command& command : app.subcommands())
    rows.push_back({"  " + command.name(), command.description()});
  const std::vector<TableColumn> columns = {{"Commands:"}, {""}};
  fmt::print(
      "{}\n\n{}\n`dunlin help COMMAND` or `dunlin COMMAND --help` shows a command's flags.\n"
      "docs/troubleshooting.md explains error messages.\n",
      app.description(), aligned_table(columns, rows));
}

constexpr const char* kOptimizations = "optimizations";

void print_optimizations() {
  fmt::print(
      "What `--disable NAME,...` turns off. Results stay the same without any of it but "
      "precision,\n"
      "so `all` leaves that on. `dunlin verify --bisect` finds the one that breaks a model,\n"
      "`dunlin bench optimizations` measures what some of them bring.\n\n{}",
      optimizations_table());
}

Result<void> help(const Command& app, const std::vector<std::string>& path) {
  if (path == std::vector<std::string>{kOptimizations}) {
    print_optimizations();
    return {};
  }
  if (path.empty()) {
    print_commands(app);
    return {};
  }
  Command command = app;
  for (size_t depth = 0; depth < path.size(); ++depth) {
    const std::optional<Command> next = command.find_subcommand(path[depth]);
    if (!next) {
      std::vector<std::string> names = command.subcommand_names();
      if (depth == 0) names.emplace_back(kOptimizations);
      return usage_error(unknown_name(path[depth], "command", names));
    }
    command = *next;
  }
  fmt::print("{}", command.help());
  return {};
}

}  // namespace

void add_help_command(Command app, int& exit_code) {
  Command command = app.add_command("help", "List the commands, or the flags of one");
  auto path = std::make_shared<std::vector<std::string>>();
  command.add_arguments(
      "command", "the command: run, or bench model; or optimizations: what --disable takes", *path);
  command.footer(
      "Examples:\n  dunlin help run\n  dunlin help bench model\n  dunlin help optimizations");
  command.callback([path, app, &exit_code] {
    const auto result = help(app, *path);
    exit_code = result.ok() ? 0 : report_error(result.error());
  });
}

}  // namespace dunlin
