// The subcommands of `dunlin`. Each adds itself to the parser; its callback runs the command and
// sets the exit code.
#pragma once

#include "cli/command.h"

namespace dunlin {

// `exit_code` outlives the parser; commands set it instead of calling exit().
void add_run_command(Command app, int& exit_code);
void add_chat_command(Command app, int& exit_code);
void add_inspect_command(Command app, int& exit_code);
void add_tokenize_command(Command app, int& exit_code);
void add_detokenize_command(Command app, int& exit_code);
void add_verify_command(Command app, int& exit_code);
void add_eval_command(Command app, int& exit_code);
void add_convert_command(Command app, int& exit_code);
void add_quantize_command(Command app, int& exit_code);
void add_imatrix_command(Command app, int& exit_code);
void add_pull_command(Command app, int& exit_code);
void add_bench_command(Command app, int& exit_code);
void add_bench_optimizations(Command bench, int& exit_code);  // below bench
void add_plan_command(Command app, int& exit_code);
void add_compile_command(Command app, int& exit_code);
void add_devices_command(Command app, int& exit_code);
void add_completion_command(Command app, int& exit_code);
void add_version_command(Command app, int& exit_code);
// Last: it lists the commands that were added before it.
void add_help_command(Command app, int& exit_code);

}  // namespace dunlin
