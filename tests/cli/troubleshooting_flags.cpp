// Messages about flags, settings and prompts.
#include <filesystem>

#include "troubleshooting.h"

namespace dunlin {
namespace {

ProcessResult run_with_settings(const TemporaryFolder& folder, const std::string& settings) {
  write_all(folder.file("config.toml"), settings);
  return run_hello("model", {"--config", folder.file("config.toml")});
}

}  // namespace

std::vector<MessageCase> flag_messages() {
  using Folder = const TemporaryFolder&;
  return {
      {"error: <word> is not a flag; did you mean <word>?",
       [](Folder) { return run_hello("model", {"--max-tokns", "3"}); }},
      {"error: <word> is not a flag; use <flags>",
       [](Folder) { return run_hello("model", {"-lv", "1"}); }},
      {"warning: --gpu-layers (-ngl) has no effect: <what>",
       [](Folder folder) { return run_hello(text_model(folder), {"-ngl", "99"}); }},
      {"error: <word> is not a command; did you mean <word>?",
       [](Folder) { return run_dunlin({"chatt", "model"}); }},
      {"error: <flag> needs a value",
       [](Folder) { return run_dunlin({"run", "model", "--seed"}); }},
      {"error: <flag> cannot be given together with <flag>",
       [](Folder) { return run_dunlin({"run", "model", "-p", "Hello", "-f", "prompt.txt"}); }},
      {"error: <flag>: \"<value>\" is not one of <names>",
       [](Folder) { return run_hello("model", {"--precision", "vague"}); }},
      {"error: <flag>: <name> is <value>, outside <low>..<high>",
       [](Folder) { return run_hello("model", {"--top-p", "3"}); }},
      {"error: DUNLIN_ARG_<name>: \"<value>\" is not an integer",
       [](Folder) { return run_hello("model", {}, {.environment = {{"DUNLIN_ARG_TOP_K", "x"}}}); }},
      {"warning: DUNLIN_ARG_<name> belongs to no flag; did you mean <variable>?",
       [](Folder folder) {
         return run_hello(text_model(folder), {}, {.environment = {{"DUNLIN_ARG_TEMPP", "1"}}});
       }},
      {"error: <file>: Too many levels of symbolic links",
       [](Folder folder) {
         std::filesystem::create_directory(folder.file("dunlin"));
         std::filesystem::create_symlink("config.toml", folder.file("dunlin/config.toml"));
         return run_hello("model", {}, {.environment = {{"XDG_CONFIG_HOME", folder.path()}}});
       }},
      {"error: <file>:<line>: <word> is not a setting; did you mean <word>?",
       [](Folder folder) { return run_with_settings(folder, "seed = 1\nmax-tokns = 3\n"); }},
      {"error: <file>:<line>: Error while parsing <what>",
       [](Folder folder) { return run_with_settings(folder, "model = my model\n"); }},
      {"error: --disable: <name>: there is no such optimisation; `dunlin help optimizations` lists "
       "them",
       [](Folder) { return run_hello("model", {"--disable", "magic"}); }},
      {"error: --disable precision computes in float32 and --precision exact in bf16: leave one "
       "out",
       [](Folder folder) {
         return run_hello(text_model(folder), {"--disable", "precision", "--precision", "exact"});
       }},
      {"error: no prompt: give one as an argument, with -p or -f, or on stdin",
       [](Folder folder) { return run_dunlin({"run", text_model(folder), "-q"}); }},
      {"error: the prompt has <n> tokens, the context <n>; it leaves no room for an answer",
       [](Folder folder) { return run_hello(text_model(folder), {"-c", "8"}); }},
      {"error: a context of <n> is more than the <n> positions the model was trained for",
       [](Folder folder) { return run_hello(text_model(folder), {"-c", "100k"}); }},
      {"error: token <n> of the prompt is outside 0..<n>",
       [](Folder folder) {
         return run_dunlin({"run", text_model(folder), "-q", "--prompt-ids", "1,2,100000"});
       }},
      {"error: <file>:<line>: an object needs one of \"prompt\", \"messages\" and \"ids\", and has "
       "none",
       [](Folder folder) {
         write_all(folder.file("prompts.jsonl"), "Hello\n{\"text\": \"Hello\"}\n");
         return run_dunlin({"run", text_model(folder), "-q", "-n", "2", "--prompts",
                            folder.file("prompts.jsonl")});
       }},
      {"stdin    is open, but nothing came; answering without it (</dev/null)",
       [](Folder folder) {
         return run_dunlin({"run", text_model(folder), "Hello", "-n", "2"},
                           {.in = ProcessInput::Stdin::silent_pipe});
       }},
  };
}

}  // namespace dunlin
