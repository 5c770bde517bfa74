#include "cli/prompt_source.h"

#include <fmt/format.h>

#include "cli/flags.h"
#include "cli/line_reader.h"
#include "cli/read_input.h"
#include "cli/terminal.h"

namespace dunlin {
namespace {

constexpr uint64_t kMostSystemFileBytes = 1u << 20;

Result<PromptBatch> single(Result<std::string> text, const std::string& name) {
  if (!text.ok()) return text.error();
  if (text->empty()) return usage_error(name + ": the prompt is empty");
  return PromptBatch{.prompts = {Prompt{.text = *std::move(text)}}};
}

Result<PromptBatch> read_batch(const std::string& path) {
  DUNLIN_ASSIGN_OR_RETURN(const FileDescriptor file, open_user_file(path));
  LineReader reader(file.get(), path == "-" ? "stdin" : path);
  DUNLIN_ASSIGN_OR_RETURN(auto prompts, read_prompts(reader));
  return PromptBatch{.prompts = std::move(prompts), .is_batch = true};
}

// "-" is stdin, as for -f.
Result<PromptBatch> from_argument(const std::string& text, const std::string& name) {
  if (text == "-") return single(read_user_file("-", kMostPromptBytes), "stdin");
  DUNLIN_ASSIGN_OR_RETURN(PromptBatch batch, single(text, name));
  batch.stdin_belongs = true;
  return batch;
}

}  // namespace

void PromptFlags::add_to(Command command) {
  const FlagGroup group(command, "Prompt");
  std::vector<Flag> sources = {
      add_flag(command, "prompt", argument, "the prompt (-: stdin)"),
      add_flag(command, "-p,--prompt", text, "the prompt (-: stdin)"),
      add_flag(command, "-f,--file", file, "a file with the prompt (-: stdin)").type_name("FILE"),
      add_flag(command, "--prompts", prompts,
               "a file of prompts, text or JSON lines (-: stdin); answers come in order")
          .type_name("FILE"),
      add_flag(command, "--prompt-ids", ids, "token ids instead of text: 1,2,3")};
  for (size_t i = 0; i < sources.size(); ++i) {
    for (size_t j = i + 1; j < sources.size(); ++j) sources[i].excludes(sources[j]);
  }
  const Flag raw_switch =
      add_switch(command, "--raw", raw, "no chat template: the model continues the text");
  Flag system_flag = add_flag(command, "--system-prompt", system, "the system prompt (-sys)");
  Flag system_file_flag =
      add_flag(command, "--system-prompt-file", system_file, "a file with it (-sysf)")
          .type_name("FILE");
  system_flag.excludes(system_file_flag).excludes(raw_switch).excludes(sources.back());
  system_file_flag.excludes(raw_switch).excludes(sources.back());
}

Result<PromptBatch> gather_prompts(const PromptFlags& flags) {
  if (flags.prompts) return read_batch(*flags.prompts);
  if (flags.ids) {
    DUNLIN_ASSIGN_OR_RETURN(auto ids, parse_ids(*flags.ids));
    return PromptBatch{.prompts = {Prompt{.ids = std::move(ids)}}};
  }
  if (flags.argument) return from_argument(*flags.argument, "the argument");
  if (flags.text) return from_argument(*flags.text, "--prompt");
  if (flags.file) return single(read_user_file(*flags.file, kMostPromptBytes), *flags.file);
  const Error none = usage_error("no prompt: give one as an argument, with -p or -f, or on stdin");
  if (stdin_is_terminal()) return none;
  DUNLIN_ASSIGN_OR_RETURN(std::string text, read_user_file("-", kMostPromptBytes));
  if (text.empty()) return none;
  return PromptBatch{.prompts = {Prompt{.text = std::move(text)}}};
}

Result<std::string> add_stdin(PromptBatch& batch, std::chrono::steady_clock::time_point deadline) {
  if (!batch.stdin_belongs) return std::string();
  DUNLIN_ASSIGN_OR_RETURN(const OfferedInput offered, read_offered_stdin(deadline));
  if (offered.silent)
    return std::string("stdin    is open, but nothing came; answering without it (</dev/null)\n");
  if (offered.text.empty()) return std::string();
  std::string& text = batch.prompts.front().value().text;
  text = offered.text + (offered.text.ends_with('\n') ? "\n" : "\n\n") + text;
  return fmt::format("stdin    {} bytes before the prompt\n", offered.text.size());
}

Result<std::string> system_prompt(const PromptFlags& flags) {
  if (flags.system_file.empty()) return flags.system;
  return read_user_file(flags.system_file, kMostSystemFileBytes);
}

}  // namespace dunlin
