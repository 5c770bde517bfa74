// Every message of docs/troubleshooting.md, with what provokes it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "process.h"
#include "support/temporary_folder.h"

namespace dunlin {

struct MessageCase {
  std::string message;  // as the document has it: <name> stands for anything
  // Provokes it, with files in an empty folder of its own. `err` has the message as a line, `code`
  // is the exit code.
  ProcessResult (*provoke)(const TemporaryFolder& folder);
  bool applies = true;  // false: this build cannot say it
};

std::vector<MessageCase> flag_messages();
std::vector<MessageCase> model_messages();
std::vector<MessageCase> hub_messages();
std::vector<MessageCase> text_messages();
std::vector<MessageCase> reasoning_messages();
std::vector<MessageCase> machine_messages();
std::vector<MessageCase> chat_messages();
std::vector<MessageCase> bench_messages();

// A small model with tokenizer and template, in the folder. Returns the folder's path.
const std::string& text_model(const TemporaryFolder& folder);
// The same with keys of config.json replaced.
const std::string& model_with_config(const TemporaryFolder& folder, const nlohmann::json& keys);
// `dunlin run MODEL Hello -n 2 -q`, and more.
ProcessResult run_hello(const std::string& model, const std::vector<std::string>& more = {},
                        const ProcessInput& input = {});

}  // namespace dunlin
