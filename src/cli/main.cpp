// dunlin: one binary, a thin file per subcommand.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "backend/pjrt/pjrt_backend.h"
#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/help_format.h"
#include "cli/print_config.h"
#include "cli/terminal.h"
#include "cli/version.h"

namespace dunlin {
namespace {

void add_commands(Command app, int& exit_code) {
  app.description("dunlin: run large language models");
  set_help_format(app);
  app.require_subcommand();
  app.version_flag("--version", std::string("dunlin ") + version());
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
  const CommandTree tree;
  int exit_code = 0;
  add_commands(tree.root(), exit_code);
  if (const auto ended = parse(tree.root(), *line, /*run=*/!line->print_config)) return *ended;
  if (!line->print_config) return exit_code;
  const auto printed = print_config(tree.root(), *line);
  return printed.ok() ? 0 : report_error(printed.error());
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
  if (argc == 2 && std::string_view(argv[1]) == dunlin::kPluginHostCommand)
    return dunlin::serve_plugin();
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
