// The subcommands of `dunlin`. Each adds itself to the parser; its callback runs the command and sets the exit code.
#pragma once

#include <CLI/CLI.hpp>

namespace dunlin {

// `exit_code` outlives the parser; commands set it instead of calling exit().
void add_run_command(CLI::App& app, int& exit_code);
void add_verify_command(CLI::App& app, int& exit_code);

}  // namespace dunlin
