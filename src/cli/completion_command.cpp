// `dunlin completion`: a script for a shell.
#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/completion.h"
#include "cli/flags.h"

namespace dunlin {

void add_completion_command(Command app, int& exit_code) {
  Command command = app.add_command("completion", "Print a script that completes flags in a shell");
  auto shell = std::make_shared<std::string>();
  add_flag(command, "shell", *shell, "the shell").required().check(one_of({"bash", "zsh", "fish"}));
  command.footer(
      "Examples:\n"
      "  source <(dunlin completion bash)        # for this shell; in ~/.bashrc: for all\n"
      "  dunlin completion fish > ~/.config/fish/completions/dunlin.fish");
  command.callback([shell, app, &exit_code] {
    fmt::print("{}", *shell == "bash"  ? bash_completion(app)
                     : *shell == "zsh" ? zsh_completion(app)
                                       : fish_completion(app));
    exit_code = 0;
  });
}

}  // namespace dunlin
