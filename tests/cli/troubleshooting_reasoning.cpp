// Messages about what a model says beside its answer.
#include <fmt/format.h>

#include "support/harmony_tokenizer.h"
#include "support/text_model_folder.h"
#include "troubleshooting.h"

namespace dunlin {
namespace {

// A model that goes on with the prompt by saying one token.
ProcessResult say(const TemporaryFolder& folder, const std::string& prompt,
                  std::string_view token) {
  write_harmony_model(folder.path());
  return run_dunlin({"run", folder.path(), "--raw", prompt, "-n", "1", "--temp", "0",
                     fmt::format("--logit-bias={}+5000", harmony_id(token))});
}

}  // namespace

std::vector<MessageCase> reasoning_messages() {
  using Folder = const TemporaryFolder&;
  return {
      {"warning: --reasoning-effort has no effect: the model's chat format has no such setting",
       [](Folder folder) { return run_hello(text_model(folder), {"--reasoning-effort", "high"}); }},
      {"note     the answer is empty: the model was still thinking (-n gives it more tokens, "
       "--show-reasoning shows it)",
       [](Folder folder) {
         return say(folder, "<|start|>assistant<|channel|>analysis<|message|>I", " hmm");
       }},
      {"note     the answer is empty: the model calls <name>, which is not here "
       "(--show-reasoning shows the call)",
       [](Folder folder) {
         return say(folder, "<|start|>assistant to=functions.f<|channel|>commentary<|message|>",
                    "{}");
       }},
      {"error: <file>:<n>: messages[<n>]: <problem>",
       [](Folder folder) {
         write_harmony_model(folder.path());
         return run_dunlin({"run", folder.path(), "--prompts", "-", "-q"},
                           {.text = R"({"messages": [{"role": "bot", "content": "Hi"}]})"});
       }},
  };
}

}  // namespace dunlin
