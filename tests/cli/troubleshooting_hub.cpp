// Messages about models of the hub and of ollama.
#include "support/stand_in_hub.h"
#include "troubleshooting.h"

namespace dunlin {
namespace {

using Folder = const TemporaryFolder&;

// `dunlin pull MODEL` from a hub with the cache in `folder`.
ProcessResult pull(const std::string& model, Folder folder, const std::string& endpoint) {
  return run_dunlin({"pull", model, "-q"}, {.environment = {{"HF_ENDPOINT", endpoint},
                                                            {"HF_HOME", folder.path()},
                                                            {"HF_HUB_CACHE", ""},
                                                            {"HF_TOKEN", ""},
                                                            {"HF_HUB_OFFLINE", ""},
                                                            {"no_proxy", "127.0.0.1"}}});
}

// From a stand-in whose every answer has this error code.
ProcessResult refused(Folder folder, const std::string& code) {
  StandInHub hub;
  hub.set_fault([&code](const ServedRequest&, bool) {
    return ServedReply{.status = 401, .headers = {{"X-Error-Code", code}}};
  });
  return pull(StandInHub::kRepo, folder, hub.url());
}

// From a stand-in with one file.
ProcessResult pull_file(Folder folder, const std::string& model, const std::string& name,
                        void (*change)(StandInHub::File& file)) {
  StandInHub hub;
  change(hub.add(name, "bytes", /*large=*/true));
  return pull(model, folder, hub.url());
}

ProcessResult run_model(const std::string& model, Folder folder) {
  return run_hello(model, {},
                   {.environment = {{"HF_HUB_CACHE", folder.file("hub")},
                                    {"OLLAMA_MODELS", folder.file("ollama")}}});
}

void nothing(StandInHub::File&) {}

}  // namespace

std::vector<MessageCase> hub_messages() {
  return {
      {"error: <repo>: no such model at <address>, or a private one: check the name; a private one "
       "needs HF_TOKEN",
       [](Folder folder) { return refused(folder, "RepoNotFound"); }},
      {"error: <repo>: gated: accept its licence at <address>, then set HF_TOKEN to a token of "
       "<address>",
       [](Folder folder) { return refused(folder, "GatedRepo"); }},
      {"error: <repo>: no file fits <name>; there are <files>",
       [](Folder folder) { return pull_file(folder, "org/tiny:Q4_0", "m-Q8_0.gguf", nothing); }},
      {"error: <repo>: only pickled weights (<file>), and reading them runs code; "
       "tools/pickle_to_safetensors.py converts what you trust",
       [](Folder folder) { return pull_file(folder, "org/tiny", "pytorch_model.bin", nothing); }},
      {"error: <address>: Failed to connect to <host> port <n> after <n> ms: Couldn't connect to "
       "server",
       [](Folder folder) { return pull("org/tiny", folder, "http://127.0.0.1:1"); }},
      {"error: <address>: damaged on its way: the checksum is <sum>, the hub has <sum>; nothing of "
       "it is kept",
       [](Folder folder) {
         return pull_file(folder, "org/tiny", "m.gguf",
                          [](StandInHub::File& file) { file.etag = std::string(64, '0'); });
       }},
      {"error: <folder>: <n> MB are to be fetched, <n> MB are free: <n> MB short",
       [](Folder folder) {
         return pull_file(folder, "org/tiny", "m.gguf",
                          [](StandInHub::File& file) { file.size = uint64_t{1} << 60; });
       }},
      {"error: <name>: no such file; as a model of the hub: <repo>: no revision \"main\" in the "
       "cache <folder>; `dunlin pull <repo>` fetches it",
       [](Folder folder) { return run_model("org/tiny", folder); }},
      {"error: <name>: not in ollama's store <folder>; `ollama list` shows what is",
       [](Folder folder) { return run_model("ollama:tiny", folder); }},
  };
}

}  // namespace dunlin
