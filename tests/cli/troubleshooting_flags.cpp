// Messages about flags, settings and prompts.
#include <filesystem>

#include "support/text_model_folder.h"
#include "troubleshooting.h"

namespace dunlin {
namespace {

ProcessResult run_diffusion(const TemporaryFolder& folder, const std::vector<std::string>& more) {
  write_text_diffusion_model(folder.path(), 3);
  return run_hello(folder.path(), more);
}

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
      {"error: --disable precision computes in float32 and --precision <name> does not: leave one "
       "out",
       [](Folder folder) {
         return run_hello(text_model(folder), {"--disable", "precision", "--precision", "exact"});
       }},
      {"error: --cache-type-k <name> and --cache-type-v <name>: keys and values are kept in one "
       "type, which --kv-cache-dtype sets",
       [](Folder folder) { return run_hello(text_model(folder), {"-ctk", "int8"}); }},
      {"error: --precision <name> keeps keys and values in <names>, not in <name>",
       [](Folder folder) {
         return run_hello(text_model(folder), {"--kv-cache-dtype", "int8", "--precision", "f32"});
       }},
      {"error: keys and values in int8 need --backend cpu or reference, and this is pjrt",
       [](Folder folder) {
         return run_hello(text_model(folder), {"--kv-cache-dtype", "int8", "--backend", "pjrt"});
       }},
      {"error: the back ends keep keys and values in bf16, int8 or f32, not in <name>",
       [](Folder folder) {
         return run_dunlin({"plan", text_model(folder), "--kv-cache-dtype", "q8_0"});
       }},
      {"error: no prompt: give one as an argument, with -p or -f, or on stdin",
       [](Folder folder) { return run_dunlin({"run", text_model(folder), "-q"}); }},
      {"error: the prompt has <n> tokens, the context <n>; it leaves no room for an answer",
       [](Folder folder) { return run_hello(text_model(folder), {"-c", "8"}); }},
      {"error: the prompt has <n> tokens and the answer <n>; together they do not fit the context "
       "of <n>",
       [](Folder folder) { return run_diffusion(folder, {"-c", "8"}); }},
      {"error: the canvas has <n> masks, and a step has the logits of <n> (max_tokens)",
       [](Folder folder) {
         write_text_diffusion_model(folder.path(), 3);
         std::string masks = "5";
         for (int i = 0; i < 130; ++i) masks += ",3";
         return run_dunlin({"run", folder.path(), "--prompt-ids", masks, "-n", "2", "-q"});
       }},
      {"error: <file> is a diffusion model, which fills in masks; <what> needs a model that writes "
       "token after token <hint>",
       [](Folder folder) {
         write_text_diffusion_model(folder.path(), 3);
         std::string text;
         for (int i = 0; i < 200; ++i) text += "word ";
         write_all(folder.file("text"), text);
         return run_dunlin({"eval", folder.path(), folder.file("text"), "-c", "32", "-q"});
       }},
      {"error: <flag> is for diffusion models, which this is not",
       [](Folder folder) { return run_hello(text_model(folder), {"--steps", "4"}); }},
      {"error: <flag> has no meaning for a diffusion model",
       [](Folder folder) { return run_diffusion(folder, {"--min-p", "0.1"}); }},
      {"error: max-tokens <n>: this chat has memory for answers of <n> tokens; begin it with -n "
       "<n>",
       [](Folder folder) {
         write_text_diffusion_model(folder.path(), 3);
         return run_dunlin({"chat", folder.path(), "-q"}, {.text = "/set max-tokens 200\nHello\n"});
       }},
      {"error: steps is <n>, but <n> tokens in blocks of <n> need one for each of <n> blocks",
       [](Folder folder) {
         return run_diffusion(folder,
                              {"--steps", "1", "--dlm-cache", "dual", "--block-length", "1"});
       }},
      {"error: the prompt has masks, which need dlm_cache none: a cache knows blocks behind the "
       "prompt",
       [](Folder folder) {
         write_text_diffusion_model(folder.path(), 3);
         return run_dunlin(
             {"run", folder.path(), "--prompt-ids", "5,3", "-n", "2", "--dlm-cache", "dual", "-q"});
       }},
      {"error: a context of <n> leaves no room for a prompt before <n> masks",
       [](Folder) {
         return run_dunlin({"plan", test_data("data/dream_plain/model"), "-c", "64", "-n", "64"});
       }},
      {"error: --offload auto needs --device cpu, and <device> holds all weights in its memory",
       [](Folder) {
         return run_dunlin(
             {"plan", test_data("data/llama_plain/model"), "--device", "v5e", "--offload", "auto"});
       }},
      {"error: --disk-gb-s is for --offload auto, which reads weights from disk",
       [](Folder) {
         return run_dunlin({"plan", test_data("data/llama_plain/model"), "--disk-gb-s", "3"});
       }},
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
