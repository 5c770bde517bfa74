// Where the prompts of `dunlin run` come from: the command line, a file, stdin, a batch, or token
// ids. One source at a time; stdin besides an argument belongs to it.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/command.h"
#include "cli/prompts.h"

namespace dunlin {

struct PromptFlags {
  std::optional<std::string> argument, text, file, prompts, ids;
  std::string system, system_file;
  bool raw = false;

  // Each source excludes the others.
  void add_to(Command command);
};

struct PromptBatch {
  std::vector<Result<Prompt>> prompts = {};  // a line that is none has its error
  bool is_batch = false;                     // --prompts: failures are answers like any other
  bool stdin_belongs = false;                // what stdin holds goes before the prompt
};

// Reads all but the stdin that belongs to an argument. Errors are of kind usage.
Result<PromptBatch> gather_prompts(const PromptFlags& flags);

// Puts what stdin holds before the only prompt of the batch, with an empty line between: the order
// of ollama. Returns a line for people about it, or nothing.
Result<std::string> add_stdin(PromptBatch& batch, std::chrono::steady_clock::time_point deadline);

// The text of --system-prompt or --system-prompt-file.
Result<std::string> system_prompt(const PromptFlags& flags);

}  // namespace dunlin
