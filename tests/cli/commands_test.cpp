// `dunlin devices`, `version`, `help` and usage errors as processes.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "process.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

TEST(Usage, UnknownFlagsAndCommandsNameTheNearest) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"run", "m", "--max-tokns", "3"}, "--max-tokns is not a flag; did you mean --max-tokens?"},
      {{"run", "m", "--temprature=1"}, "did you mean --temperature?"},
      {{"run", "m", "-x", "3"}, "-x is not a flag"},
      // Letters after one dash are one name, not a flag with its value.
      {{"run", "m", "-nq", "3"}, "-nq is not a flag"},
      {{"run", "m", "-fast"}, "-fast is not a flag"},
      {{"run", "m", "-vv"}, "-vv is not a flag; did you mean -v?"},
      {{"run", "m", "-npp", "2"}, "-npp is not a flag; did you mean -np?"},
      {{"run", "m", "-lv", "1"}, "-lv is not a flag; use -v for more"},
      {{"run", "-hf", "org/model"}, "-hf is not a flag; use `dunlin pull REPO`"},
      {{"run", "m", "-tb", "4"}, "-tb is not a flag; use -t\n"},
      {{"verify", "m", "--ref", "r", "-ngl", "99"}, "-ngl is not a flag; use --backend pjrt"},
      {{"chat", "m", "--sytem-prompt", "x"}, "did you mean --system-prompt?"},
      {{"bench", "model", "m", "--repetition", "3"}, "did you mean --repetitions?"},
      {{"chatt", "m"}, "chatt is not a command; did you mean chat?"},
      {{"bench", "modell"}, "modell is not a command; did you mean model?"},
      {{"help", "runn"}, "runn is not a command; did you mean run?"},
      {{"run", "m", "--zzzzzzzzzzzzzzzzzzzz"}, "--zzzzzzzzzzzzzzzzzzzz is not a flag\n"},
      {{"run"}, "model"},
      {{}, "a command is missing"},
  };
  for (const auto& [arguments, message] : cases) {
    const ProcessResult result = run_dunlin(arguments);
    EXPECT_EQ(result.code, 2) << fmt::format("{}", fmt::join(arguments, " "));
    EXPECT_THAT(result.err, HasSubstr(message));
    EXPECT_EQ(result.out, "");
  }
}

TEST(Usage, ShortFlagsTakeTheirValueInEveryForm) {
  const std::string model = test_data("data/llama_plain/model");
  for (const std::vector<std::string>& four :
       {std::vector<std::string>{"-n", "4"}, {"-n4"}, {"-np", "2", "-n4"}, {"-np=2", "-n4"}}) {
    std::vector<std::string> arguments = {"run", model,          "--prompt-ids",
                                          "3",   "--ignore-eos", "--json"};
    arguments.insert(arguments.end(), four.begin(), four.end());
    const ProcessResult result = run_dunlin(arguments);
    ASSERT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(result.json()["ids"].size(), 4u);
  }
  // The value of a flag is no flag, nor is what follows two dashes.
  for (const std::vector<std::string>& prompt :
       {std::vector<std::string>{"-p", "-np"}, {"-p", "-ngl"}, {"--", "-np"}, {"--", "-ngl"}}) {
    const TemporaryFolder folder;
    write_text_model(folder.path());
    std::vector<std::string> arguments = {"run", folder.path(), "-n", "1", "--raw", "--json"};
    arguments.insert(arguments.end(), prompt.begin(), prompt.end());
    const ProcessResult result = run_dunlin(arguments);
    ASSERT_EQ(result.code, 0) << result.err;
    const ProcessResult ids = run_dunlin({"tokenize", folder.path(), "--ids", "--", prompt[1]});
    EXPECT_EQ(result.json()["prompt_ids"], ids.json()) << prompt[1];
  }
}

TEST(Usage, FlagsOfLlamaCppWithoutAMeaningHereAreTakenWithAWarning) {
  const std::string model = test_data("data/llama_plain/model");
  const ProcessResult run = run_dunlin(
      {"run", model, "--prompt-ids", "3", "-n", "1", "-ngl", "99", "-fa", "on", "--jinja", "-q"});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_THAT(run.err, StartsWith("warning: --gpu-layers (-ngl) has no effect: "));
  EXPECT_THAT(run.err, HasSubstr("\nwarning: --flash-attn (-fa) has no effect: "));
  const ProcessResult bench = run_dunlin(
      {"bench", "model", model, "-p", "4", "-n", "0", "-r", "1", "-ngl", "0,99", "-fa", "0,1"});
  ASSERT_EQ(bench.code, 0) << bench.err;
  EXPECT_THAT(bench.err, HasSubstr("--gpu-layers (-ngl) has no effect"));
  EXPECT_EQ(run_dunlin({"run", model, "--prompt-ids", "3", "-ngl", "many"}).code, 2);
  EXPECT_EQ(run_dunlin({"run", model, "--prompt-ids", "3", "-fa", "-n"}).code, 2);
}

TEST(Help, ListsEveryCommandAndShowsExamples) {
  const ProcessResult list = run_dunlin({"help"});
  EXPECT_EQ(list.code, 0);
  for (const char* name : {"run", "chat", "inspect", "tokenize", "detokenize", "verify", "bench",
                           "eval", "convert", "quantize", "imatrix", "pull", "plan", "compile",
                           "devices", "completion", "version", "help"}) {
    EXPECT_THAT(list.out, HasSubstr(fmt::format("\n  {} ", name)));
  }
  for (const char* name :
       {"run", "chat", "inspect", "tokenize", "detokenize", "verify", "eval", "convert", "quantize",
        "imatrix", "pull", "plan", "compile", "devices", "completion", "version", "help"}) {
    const ProcessResult help = run_dunlin({"help", name});
    EXPECT_EQ(help.code, 0);
    EXPECT_THAT(help.out, HasSubstr("Example")) << name;
    EXPECT_EQ(run_dunlin({name, "--help"}).out, help.out) << name;
  }
  EXPECT_THAT(run_dunlin({"--help"}).out, HasSubstr("detokenize"));
}

TEST(Help, OfACommandBelowAnotherIsTheSameInBothForms) {
  for (const char* name : {"model", "forward", "sweep", "optimizations"}) {
    const ProcessResult help = run_dunlin({"help", "bench", name});
    EXPECT_EQ(help.code, 0);
    EXPECT_EQ(run_dunlin({"bench", name, "--help"}).out, help.out) << name;
    EXPECT_THAT(help.out,
                HasSubstr(fmt::format("\nUsage: dunlin bench {} MODEL [FLAG...]\n", name)));
    EXPECT_THAT(help.out, HasSubstr("Examples:"));
  }
  const ProcessResult bench = run_dunlin({"help", "bench"});
  EXPECT_EQ(run_dunlin({"bench", "--help"}).out, bench.out);
  EXPECT_THAT(bench.out, HasSubstr("\nUsage: dunlin bench COMMAND\n"));
  EXPECT_THAT(run_dunlin({"run", "--help"}).out, HasSubstr("\nUsage: dunlin run "));
  EXPECT_THAT(run_dunlin({"--help"}).out, HasSubstr("\nUsage: dunlin COMMAND\n"));
}

TEST(Version, IsTheSameInAllForms) {
  const auto json = run_dunlin({"version", "--json"}).json();
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["schema_version"], 1);
  const std::string line = "dunlin " + json["version"].get<std::string>();
  EXPECT_THAT(run_dunlin({"version"}).out, StartsWith(line));
  EXPECT_THAT(run_dunlin({"--version"}).out, StartsWith(line));
}

TEST(Devices, JsonHasTheContractsFields) {
  const ProcessResult result = run_dunlin({"devices", "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto json = result.json();
  EXPECT_EQ(json["schema_version"], 1);
  EXPECT_GE(json["cpu"]["cores"].get<int>(), 1);
  EXPECT_EQ(json["cpu"]["isa"][0], "scalar");
  EXPECT_TRUE(json["cpu"]["caches"].is_object());
  EXPECT_GT(json["cpu"]["stream_gb_s"].get<double>(), 0.05);
  EXPECT_LT(json["cpu"]["stream_gb_s"].get<double>(), 20000.0);
  const auto& cpu = json["cpu"];
  EXPECT_EQ(cpu["threads"], cpu["cores"]);
  for (const char* field : {"sockets", "physical_cores", "processors", "usable_processors"})
    EXPECT_TRUE(cpu[field].is_number_integer() || cpu[field].is_null()) << field;
  EXPECT_TRUE(cpu["quota_processors"].is_number() || cpu["quota_processors"].is_null());
  ASSERT_TRUE(cpu["numa_nodes"].is_array());
  for (const auto& node : cpu["numa_nodes"]) {
    EXPECT_TRUE(node["node"].is_number_integer());
    EXPECT_TRUE(node["processors"].is_array());
    EXPECT_TRUE(node["memory_bytes"].is_number_integer());
  }
  // Memory is interleaved over several nodes, or it says why not.
  ASSERT_TRUE(cpu["interleaved_nodes"].is_array());
  EXPECT_EQ(cpu["interleaved_nodes"].empty(), cpu["why_not_interleaved"].is_string()) << cpu;
  EXPECT_NE(cpu["interleaved_nodes"].size(), 1u);
  ASSERT_TRUE(json["pjrt"].is_array());
  for (const auto& plugin : json["pjrt"]) {
    EXPECT_TRUE(plugin["plugin"].is_string());
    EXPECT_TRUE(plugin["devices"].is_array());
    // A plug-in has devices, or says why not.
    EXPECT_EQ(plugin["devices"].empty(), plugin["why_not"].is_string()) << plugin;
  }
}

TEST(Devices, TextHasTheTopology) {
  const ProcessResult result = run_dunlin({"devices"});
  ASSERT_EQ(result.code, 0) << result.err;
  for (const char* line : {"\ncores    ", "\nmemory   ", "\nquota    ", "\nthreads  "})
    EXPECT_THAT(result.out, HasSubstr(line));
}

}  // namespace
}  // namespace dunlin
