// The subcommands of `dunlin`. Each adds itself to the parser; its callback runs the command and
// sets the exit code.
#pragma once

#include <CLI/CLI.hpp>

namespace dunlin {

// `exit_code` outlives the parser; commands set it instead of calling exit().
void add_run_command(CLI::App& app, int& exit_code);
void add_chat_command(CLI::App& app, int& exit_code);
void add_inspect_command(CLI::App& app, int& exit_code);
void add_tokenize_command(CLI::App& app, int& exit_code);
void add_detokenize_command(CLI::App& app, int& exit_code);
void add_verify_command(CLI::App& app, int& exit_code);
void add_eval_command(CLI::App& app, int& exit_code);
void add_convert_command(CLI::App& app, int& exit_code);
void add_quantize_command(CLI::App& app, int& exit_code);
void add_imatrix_command(CLI::App& app, int& exit_code);
void add_pull_command(CLI::App& app, int& exit_code);
void add_bench_command(CLI::App& app, int& exit_code);
void add_bench_optimizations(CLI::App& bench, int& exit_code);  // below bench
void add_plan_command(CLI::App& app, int& exit_code);
void add_compile_command(CLI::App& app, int& exit_code);
void add_devices_command(CLI::App& app, int& exit_code);
void add_completion_command(CLI::App& app, int& exit_code);
void add_version_command(CLI::App& app, int& exit_code);
// Last: it lists the commands that were added before it. `app` outlives the parsing.
void add_help_command(CLI::App& app, int& exit_code);

}  // namespace dunlin
