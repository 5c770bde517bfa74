// `dunlin run` and `dunlin verify` as processes.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parity/array_file.h"
#include "process.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

using testing::HasSubstr;
using Ids = std::vector<int32_t>;

Ids golden_ids(const std::string& model, const std::string& name) {
  const auto file = ArrayFile::open(test_data("data/" + model + "/golden.safetensors"));
  return file.value().read(name).value().integers;
}

std::string list_of(const Ids& ids) {
  return fmt::format("{}", fmt::join(ids, ","));
}

class GreedyIds : public testing::TestWithParam<std::tuple<const char*, const char*>> {};

TEST_P(GreedyIds, EqualTheReference) {
  const auto& [model, container] = GetParam();
  const Ids wanted = golden_ids(model, "greedy_ids");
  const ProcessResult result =
      run_dunlin({"run", test_data(fmt::format("data/{}/{}", model, container)), "--prompt-ids",
                  list_of(golden_ids(model, "input_ids")), "-n", fmt::to_string(wanted.size()),
                  "--temp", "0", "--precision", "f32", "--ignore-eos", "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto json = result.json();
  ASSERT_TRUE(json.is_object()) << result.out;
  EXPECT_EQ(json["ids"].get<Ids>(), wanted);
  EXPECT_EQ(json["finish_reason"], "length");
}

INSTANTIATE_TEST_SUITE_P(
    Models, GreedyIds,
    testing::Combine(testing::Values("llama_plain", "llama3_scaled", "llama3_scaled_tied",
                                     "llama_defaults", "llama_heads_9_3", "llama_tied_bias",
                                     "qwen2_heads_14_2", "qwen2_tied", "qwen2_untied",
                                     "r1_distill_llama", "r1_distill_qwen2"),
                     testing::Values("model", "model.gguf")));

TEST(Run, JsonHasTheFieldsThatChecksRead) {
  const std::string model = test_data("data/llama_plain/model");
  const ProcessResult result = run_dunlin(
      {"run", model, "--prompt-ids", "[3, 4,5]", "-n", "4", "-s", "7", "--ignore-eos", "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto json = result.json();
  EXPECT_EQ(json.value("schema_version", 0), 1);
  EXPECT_EQ(json["prompt_ids"], (Ids{3, 4, 5}));
  EXPECT_EQ(json["ids"].size(), 4u);
  EXPECT_EQ(json["text"], "");  // the model has no tokenizer
  EXPECT_EQ(json["seed"], 7);
  for (const char* name : {"load_ms", "prompt_n", "prompt_ms", "prompt_per_second", "predicted_n",
                           "predicted_ms", "predicted_per_second"}) {
    EXPECT_TRUE(json["timings"].contains(name)) << name;
  }
  EXPECT_EQ(json["timings"]["prompt_n"], 3);
  EXPECT_EQ(json["timings"]["predicted_n"], 4);
  for (const char* name : {"name", "isa", "threads", "kernels"})
    EXPECT_TRUE(json["backend"].contains(name)) << name;
  // The banner, and nothing of it on stdout.
  for (const char* word : {"parameters", "F32", "isa", "precision auto", "loaded"})
    EXPECT_THAT(result.err, HasSubstr(word));
}

TEST(Run, IdsDoNotDependOnThreadsOrNeighbours) {
  const std::string model = test_data("data/qwen2_untied/model");
  const std::string prompts =
      "{\"ids\":[3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]}\n{\"ids\":[9]}\n"
      "{\"ids\":[100,3,77]}\n{\"ids\":[1,2,3,4,5,6]}\n{\"ids\":[50,51]}\n";
  std::vector<Ids> first;
  for (const char* threads : {"1", "2", "4"}) {
    for (const char* parallel : {"1", "4"}) {
      const ProcessResult result =
          run_dunlin({"run", model, "--prompts", "-", "-n", "12", "-s", "5", "--temp", "0.9", "-t",
                      threads, "-np", parallel, "-ub", "7", "--ignore-eos", "--json", "-q"},
                     {.text = prompts});
      ASSERT_EQ(result.code, 0) << result.err;
      EXPECT_EQ(result.err, "");
      std::vector<Ids> ids;
      for (const auto& line : result.json_lines()) ids.push_back(line["ids"].get<Ids>());
      ASSERT_EQ(ids.size(), 5u);
      if (first.empty()) first = ids;
      EXPECT_EQ(ids, first) << threads << " threads, " << parallel << " at a time";
    }
  }
}

TEST(Run, ALineOfABatchHasSettingsOfItsOwn) {
  const std::string model = test_data("data/qwen2_untied/model");
  const auto run = [&](const std::string& lines) {
    return run_dunlin({"run", model, "--prompts", "-", "-n", "3", "-s", "5", "--temp", "0.9",
                       "--ignore-eos", "--json", "-q"},
                      {.text = lines});
  };
  const auto lines = run("{\"ids\":[9]}\n"
                         "{\"ids\":[9],\"max_tokens\":6,\"seed\":77}\n"
                         "{\"ids\":[9],\"temperature\":0,\"max-tokens\":6}\n"
                         "{\"ids\":[9],\"max_tokens\":6,\"seed\":5}\n")
                         .json_lines();
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0]["ids"].size(), 3u);
  EXPECT_EQ(lines[0]["seed"], 5);
  EXPECT_EQ(lines[1]["ids"].size(), 6u);
  EXPECT_EQ(lines[1]["seed"], 77);
  const auto greedy = run_dunlin({"run", model, "--prompt-ids", "9", "-n", "6", "--temp", "0",
                                  "--ignore-eos", "--json", "-q"});
  EXPECT_EQ(lines[2]["ids"], greedy.json()["ids"]);
  // The settings of one line are not the next one's.
  EXPECT_EQ(Ids(lines[3]["ids"].begin(), lines[3]["ids"].begin() + 3), lines[0]["ids"].get<Ids>());
  EXPECT_NE(lines[1]["ids"], lines[3]["ids"]);
  EXPECT_THAT(run("{\"ids\":[9],\"max_tokns\":6}\n").json()["error"]["message"],
              HasSubstr("stdin:1: max_tokns is not a setting; did you mean max-tokens?"));
}

TEST(Run, APromptBeyondTheContextIsAUsageErrorWithBothNumbers) {
  const ProcessResult result = run_dunlin({"run", test_data("data/llama_plain/model"), "-c", "8",
                                           "--prompt-ids", "1,2,3,4,5,6,7,8,9,10"});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("10 tokens"));
  EXPECT_THAT(result.err, HasSubstr("context 8"));
  EXPECT_EQ(result.out, "");
}

TEST(Run, TheContextIsTheModelsAndAtMost8192UnlessAskedFor) {
  const TemporaryFolder folder;
  const std::string model = test_data("data/llama_plain/model/");
  write_all(folder.file("model.safetensors"), read_all(model + "model.safetensors"));
  auto config = nlohmann::json::parse(read_all(model + "config.json"));
  config["max_position_embeddings"] = 65'536;
  write_all(folder.file("config.json"), config.dump());
  const auto banner = [](const std::string& path, const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"run", path, "--prompt-ids", "1", "-n", "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_dunlin(arguments).err;
  };
  EXPECT_THAT(banner(model, {}), HasSubstr("\ncontext  512 tokens\n"));
  EXPECT_THAT(banner(folder.path(), {}),
              HasSubstr("\ncontext  8192 tokens of the model's 65536 (-c changes it)\n"));
  EXPECT_THAT(banner(folder.path(), {"-c", "16k"}), HasSubstr("\ncontext  16384 tokens\n"));
}

TEST(Run, AnUnreadableModelIsExitCode3) {
  const TemporaryFolder folder;
  const std::string whole = read_all(test_data("data/llama_plain/model.gguf"));
  write_all(folder.file("cut.gguf"), whole.substr(0, whole.size() / 2));
  write_all(folder.file("wrong.gguf"), "not a model");
  for (const std::string& path :
       {folder.file("missing.gguf"), folder.file("cut.gguf"), folder.file("wrong.gguf")}) {
    const ProcessResult result = run_dunlin({"run", path, "--prompt-ids", "1"});
    EXPECT_EQ(result.code, 3) << path;
    EXPECT_THAT(result.err, HasSubstr(path));
  }
}

TEST(Run, WrongValuesAreUsageErrors) {
  const std::string model = test_data("data/llama_plain/model");
  const std::vector<std::vector<std::string>> wrong = {
      {"--prompt-ids", "1,x"},
      {"--prompt-ids", "160"},  // the vocabulary's size
      {"--prompt-ids", "1", "--temp", "-1"},
      {"--prompt-ids", "1", "-c", "many"},
      {"--prompt-ids", "1", "--logit-bias", "3"},
      {"--prompt-ids", "1", "--backend", "abacus"},
      {"--prompt-ids", "1", "--precision", "vague"},
      {"--prompts", "/nowhere/prompts.jsonl"},
      {},  // stdin is empty and no terminal
  };
  for (const auto& flags : wrong) {
    std::vector<std::string> arguments = {"run", model};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    const ProcessResult result = run_dunlin(arguments);
    EXPECT_EQ(result.code, 2) << fmt::format("{}", fmt::join(flags, " ")) << "\n" << result.err;
    EXPECT_THAT(result.err, HasSubstr("error: "));
  }
}

TEST(Run, FlagsHaveEnvironmentVariables) {
  const std::string model = test_data("data/llama_plain/model");
  const ProcessResult result =
      run_dunlin({"run", "--prompt-ids", "3"}, {.environment = {{"DUNLIN_ARG_MODEL", model},
                                                                {"DUNLIN_ARG_MAX_TOKENS", "5"},
                                                                {"DUNLIN_ARG_IGNORE_EOS", "1"},
                                                                {"DUNLIN_ARG_JSON", "true"}}});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.json()["ids"].size(), 5u);
}

TEST(Run, TextComesFromTheArgumentAFileOrStdin) {
  const TemporaryFolder folder;
  write_text_model(folder.path());
  write_all(folder.file("prompt.txt"), "Hello world\n");
  const std::vector<std::string> common = {"run", folder.path(),  "-n",     "6", "--temp",
                                           "0",   "--ignore-eos", "--json", "-q"};
  const auto run = [&](std::vector<std::string> more, const std::string& input = {}) {
    std::vector<std::string> arguments = common;
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_dunlin(arguments, {.text = input});
  };
  const auto wanted = run({"-p", "Hello world\n"}).json();
  ASSERT_TRUE(wanted.is_object());
  for (const ProcessResult& result :
       {run({"-f", folder.file("prompt.txt")}), run({"-f", "-"}, "Hello world\n"),
        run({}, "Hello world\n"), run({"--", "Hello world\n"})}) {
    ASSERT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(result.json()["prompt_ids"], wanted["prompt_ids"]);
    EXPECT_EQ(result.json()["ids"], wanted["ids"]);
  }
  // Without the template the ids are the text's own.
  const auto raw = run({"--raw", "-p", "Hello world\n"}).json();
  EXPECT_LT(raw["prompt_ids"].size(), wanted["prompt_ids"].size());
}

TEST(Run, StopStringsEndTheAnswerBeforeThem) {
  const TemporaryFolder folder;
  write_text_model(folder.path());
  const std::vector<std::string> common = {"run", folder.path(), "-p", "Hello",        "-n",
                                           "24",  "--temp",      "0",  "--ignore-eos", "--json"};
  const std::string text = run_dunlin(common).json()["text"];
  ASSERT_GT(text.size(), 4u);
  // Two neighbouring ASCII characters, as late as there are any.
  size_t at = text.size() - 2;
  const auto is_ascii = [&text](size_t i) { return static_cast<unsigned char>(text[i]) < 0x80; };
  while (at > 0 && !(is_ascii(at) && is_ascii(at + 1))) --at;
  ASSERT_GT(at, 0u) << text;
  const std::string stop = text.substr(at, 2);
  std::vector<std::string> arguments = common;
  arguments.insert(arguments.end(), {"--stop", stop});
  const auto stopped = run_dunlin(arguments).json();
  EXPECT_EQ(stopped["finish_reason"], "stop");
  EXPECT_EQ(stopped["text"], text.substr(0, text.find(stop)));
}

TEST(Verify, AgreesWithTheGoldenAndReportsADifference) {
  const std::string model = test_data("data/llama_plain/model.gguf");
  const std::string golden = test_data("data/llama_plain/golden.safetensors");
  const ProcessResult good = run_dunlin({"verify", model, "--ref", golden, "--json"});
  ASSERT_EQ(good.code, 0) << good.err << good.out;
  EXPECT_EQ(good.json()["pass"], true);
  EXPECT_GT(good.json()["checked"], 10);

  const TemporaryFolder folder;
  const auto file = ArrayFile::open(golden);
  std::map<std::string, Array> arrays;
  for (const char* name : {"input_ids", "hidden.1", "logits"})
    arrays[name] = file.value().read(name).value();
  arrays["hidden.1"].floats[3] += 1.0f;
  ASSERT_TRUE(write_array_file(folder.file("wrong.safetensors"), arrays).ok());
  const ProcessResult bad =
      run_dunlin({"verify", model, "--ref", folder.file("wrong.safetensors"), "--json"});
  EXPECT_EQ(bad.code, 6) << bad.err;
  EXPECT_EQ(bad.json()["pass"], false);
  EXPECT_EQ(bad.json()["first_failure"], "hidden.1");
  EXPECT_EQ(bad.json()["passed"], 1);
  const auto kinds = bad.json()["kinds"];
  ASSERT_EQ(kinds.size(), 2u);
  EXPECT_EQ(kinds[0]["kind"], "residual");
  EXPECT_EQ(kinds[0]["checked"], 1);
  EXPECT_EQ(kinds[0]["passed"], 0);
  EXPECT_EQ(kinds[0]["share"], 0.0);
  EXPECT_NEAR(kinds[0]["max_abs_diff"].get<double>(), 1.0, 1e-3);
  EXPECT_EQ(kinds[1]["kind"], "logits");
  EXPECT_EQ(kinds[1]["share"], 1.0);

  const ProcessResult text =
      run_dunlin({"verify", model, "--ref", folder.file("wrong.safetensors")});
  EXPECT_EQ(text.code, 6);
  EXPECT_THAT(text.out, testing::ContainsRegex("residual +0 of 1 +0[.]0 %"));
  EXPECT_THAT(text.out, testing::ContainsRegex("logits +1 of 1 +100[.]0 %"));
}

}  // namespace
}  // namespace dunlin
