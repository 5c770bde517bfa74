// Messages about what `bench model` compares and records.
#include "troubleshooting.h"

namespace dunlin {
namespace {

ProcessResult bench(const TemporaryFolder& folder, std::vector<std::string> more) {
  more.insert(more.begin(),
              {"bench", "model", text_model(folder), "-p", "4", "-n", "0", "-r", "1", "-t", "1"});
  return run_dunlin(more);
}

// A result of this build with the given fields, compared with a limit.
ProcessResult compare(const TemporaryFolder& folder, const nlohmann::json& fields) {
  nlohmann::json results = bench(folder, {"-o", "json"}).json();
  results[0].update(fields);
  write_all(folder.file("old.json"), results.dump());
  return bench(folder, {"--compare", folder.file("old.json"), "--fail-if", "5%"});
}

}  // namespace

std::vector<MessageCase> bench_messages() {
  using Folder = const TemporaryFolder&;
  return {
      {"error: --fail-if <fraction>: the speed of a test fell by more, beside <file>",
       [](Folder folder) { return compare(folder, {{"samples_ts", {1e12, 1e12}}}); }},
      {"error: <file>: none of its <n> results is of these tests; the nearest differs in <what>",
       [](Folder folder) { return compare(folder, {{"n_threads", 64}}); }},
      {"warning: <file>: <field> is <value> there and <value> here",
       [](Folder folder) { return compare(folder, {{"isa", "abacus"}, {"samples_ts", {1e-6}}}); }},
      {"error: <file>: result <n>: schema_version is missing: `dunlin bench model --json` did not "
       "write this",
       [](Folder folder) {
         write_all(folder.file("llama.json"), "[{\"n_prompt\": 512, \"avg_ts\": 20.5}]");
         return bench(folder, {"--compare", folder.file("llama.json")});
       }},
      {"error: --profile: only the back end cpu tells the steps of a model apart",
       [](Folder folder) {
         return bench(folder, {"--backend", "reference", "--profile", folder.file("trace.json")});
       }},
  };
}

}  // namespace dunlin
