// `dunlin help`: the commands, or the flags of one.
#include <fmt/format.h>

#include <string>
#include <vector>

#include "cli/argv.h"
#include "cli/commands.h"
#include "cli/inside_flags.h"
#include "cli/terminal.h"
#include "report/table.h"

namespace dunlin {
namespace {

void print_commands(const CLI::App& app) {
  std::vector<std::vector<std::string>> rows;
  for (const CLI::App* command : app.get_subcommands({}))
    rows.push_back({"  " + command->get_name(), command->get_description()});
  const std::vector<TableColumn> columns = {{"Commands:"}, {""}};
  fmt::print(
      "{}\n\n{}\n`dunlin help COMMAND` or `dunlin COMMAND --help` shows a command's flags.\n"
      "docs/troubleshooting.md explains error messages.\n",
      app.get_description(), aligned_table(columns, rows));
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

Result<void> help(const CLI::App& app, const std::vector<std::string>& path) {
  if (path == std::vector<std::string>{kOptimizations}) {
    print_optimizations();
    return {};
  }
  const CLI::App* command = &app;
  for (const std::string& name : path) {
    const CLI::App* next = nullptr;
    std::vector<std::string> names;
    for (const CLI::App* each : command->get_subcommands({})) {
      names.push_back(each->get_name());
      if (each->get_name() == name) next = each;
    }
    if (command == &app) names.emplace_back(kOptimizations);
    if (next == nullptr) return usage_error(unknown_name(name, "command", names));
    command = next;
  }
  if (command == &app) {
    print_commands(app);
  } else {
    fmt::print("{}", command->help());
  }
  return {};
}

}  // namespace

void add_help_command(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand("help", "List the commands, or the flags of one");
  auto path = std::make_shared<std::vector<std::string>>();
  command->add_option("command", *path,
                      "the command: run, or bench model; or optimizations: what --disable takes");
  command->footer(
      "Examples:\n  dunlin help run\n  dunlin help bench model\n  dunlin help optimizations");
  command->callback([path, &app, &exit_code] {
    const auto result = help(app, *path);
    exit_code = result.ok() ? 0 : report_error(result.error());
  });
}

}  // namespace dunlin
