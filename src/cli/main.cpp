// dunlin: one binary, a thin file per subcommand.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <exception>
#include <new>
#include <string>
#include <system_error>
#include <vector>

#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/help_format.h"
#include "cli/model_name.h"
#include "cli/print_config.h"
#include "cli/terminal.h"
#include "cli/version.h"

namespace dunlin {
namespace {

constexpr int kUsage = 2;

void add_commands(CLI::App& app, int& exit_code) {
  app.description("dunlin: run large language models");
  app.formatter(std::make_shared<HelpFormatter>());
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("dunlin ") + version());
  add_run_command(app, exit_code);
  add_chat_command(app, exit_code);
  add_inspect_command(app, exit_code);
  add_tokenize_command(app, exit_code);
  add_detokenize_command(app, exit_code);
  add_verify_command(app, exit_code);
  add_eval_command(app, exit_code);
  add_convert_command(app, exit_code);
  add_quantize_command(app, exit_code);
  add_imatrix_command(app, exit_code);
  add_pull_command(app, exit_code);
  add_bench_command(app, exit_code);
  add_plan_command(app, exit_code);
  add_compile_command(app, exit_code);
  add_devices_command(app, exit_code);
  add_completion_command(app, exit_code);
  add_version_command(app, exit_code);
  add_help_command(app, exit_code);
  add_configuration_flags(app);
}

int run_main(const std::vector<std::string>& given) {
  const auto line = complete_command_line(add_commands, given);
  if (!line.ok()) return report_error(line.error());
  CLI::App app;
  int exit_code = 0;
  add_commands(app, exit_code);
  try {
    parse(app, *line, /*run=*/!line->print_config);
    if (line->print_config) {
      const auto printed = print_config(app, *line);
      return printed.ok() ? 0 : report_error(printed.error());
    }
  } catch (const CLI::CallForHelp&) {
    return app.exit(CLI::CallForHelp());
  } catch (const CLI::CallForAllHelp&) {
    return app.exit(CLI::CallForAllHelp());
  } catch (const CLI::CallForVersion& version) {
    fmt::print("{}\n", version.what());
    return 0;
  } catch (const ModelNotFound& error) {
    return report_error(error.error());
  } catch (const CLI::ParseError& error) {
    note("error: {}\n", usage_message(app, error, *line));
    note("`dunlin help` lists the commands, `dunlin COMMAND --help` its flags\n");
    return kUsage;
  }
  return exit_code;
}

// A file that is opened later must not become stdin, stdout or stderr because whoever started the
// program has closed that one. What is written to such a stdout is an error still.
void occupy_standard_descriptors() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    const int access = descriptor == STDERR_FILENO ? O_WRONLY : O_RDONLY;
    if (::fcntl(descriptor, F_GETFD) < 0) ::open("/dev/null", access);
  }
}

}  // namespace
}  // namespace dunlin

int main(int argc, char** argv) {
  dunlin::occupy_standard_descriptors();
  try {
    return dunlin::finish_stdout(dunlin::run_main({argv + std::min(argc, 1), argv + argc}));
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
