// `dunlin run` and `dunlin verify` on models that fill in masks, as processes.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "parity/array_file.h"
#include "process.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

using testing::HasSubstr;
using testing::Not;
using Ids = std::vector<int32_t>;

const std::string kModel = test_data("data/dream_plain/model");

Ids golden(const std::string& name) {
  const auto file = ArrayFile::open(test_data("data/dream_plain/golden.safetensors"));
  return file.value().read(name).value().integers;
}

Ids golden_prompt() {
  Ids ids = golden("input_ids");
  ids.resize(9);
  return ids;
}

// What the reference decided behind the prompt.
Ids golden_answer(const std::string& name) {
  const Ids ids = golden(name);
  return {ids.begin() + 9, ids.end()};
}

ProcessResult run_ids(const std::vector<std::string>& more, const std::string& model = kModel) {
  std::vector<std::string> words = {
      "run",         model, "--prompt-ids", fmt::format("{}", fmt::join(golden_prompt(), ",")),
      "--precision", "f32", "--ignore-eos", "-q",
      "-n",          "24"};
  words.insert(words.end(), more.begin(), more.end());
  return run_dunlin(words);
}

TEST(RunDiffusion, SchedulesGiveTheIdsOfTheReference) {
  for (const std::string& model : {kModel, test_data("data/dream_plain/model.gguf")}) {
    for (const char* alg : {"maskgit_plus", "topk_margin", "entropy"}) {
      for (const char* steps : {"6", "12", "24"}) {
        const auto result = run_ids({"--alg", alg, "--steps", steps, "--json"}, model);
        ASSERT_EQ(result.code, 0) << result.err;
        EXPECT_EQ(result.json()["ids"].get<Ids>(),
                  golden_answer(fmt::format("diff.{}.s{}.ids", alg, steps)));
      }
    }
  }
}

TEST(RunDiffusion, CachesGiveTheIdsAndPassesOfTheReference) {
  const std::vector<std::pair<const char*, const char*>> caches = {
      {"none", "nocache"}, {"prefix", "prefix"}, {"dual", "dual"}};
  for (const auto& [cache, name] : caches) {
    const auto result = run_ids({"--alg", "confidence_threshold", "--steps", "6", "--dlm-cache",
                                 cache, "--block-length", "8", "--threshold", "0.9", "--json"});
    ASSERT_EQ(result.code, 0) << result.err;
    const auto json = result.json();
    EXPECT_EQ(json["ids"].get<Ids>(), golden_answer(fmt::format("fast.{}.ids", name)));
    const int passes = golden(fmt::format("fast.{}.nfe", name)).front();
    EXPECT_EQ(json["forward_passes"], passes);
    EXPECT_DOUBLE_EQ(json["tokens_per_forward"].get<double>(), 24.0 / passes);
  }
}

// The reference's answer with the dual cache, of a model that ends at its fourth token. Blocks behind
// that of an end token need no pass.
TEST(RunDiffusion, AnEarlyExitGivesTheSameAnswerInFewerPasses) {
  const TemporaryFolder folder;
  Ids wanted = golden_answer("fast.dual.ids");
  const int32_t end = wanted[3];
  wanted.erase(std::ranges::find(wanted, end), wanted.end());
  auto config = nlohmann::json::parse(read_all(kModel + "/config.json"));
  config["eos_token_id"] = end;
  write_all(folder.file("config.json"), config.dump());
  write_all(folder.file("model.safetensors"), read_all(kModel + "/model.safetensors"));
  const auto passes = [&](const char* exit) {
    const auto result = run_dunlin(
        {"run", folder.path(), "--prompt-ids", fmt::format("{}", fmt::join(golden_prompt(), ",")),
         "--precision", "f32", "-q", "-n", "24", "--alg", "confidence_threshold", "--dlm-cache",
         "dual", "--block-length", "8", "--json", exit});
    EXPECT_EQ(result.code, 0) << result.err;
    if (result.code != 0) return -1;
    const auto json = result.json();
    EXPECT_EQ(json["ids"].get<Ids>(), wanted) << exit;
    EXPECT_EQ(json["finish_reason"], "stop");
    return json["forward_passes"].get<int>();
  };
  const int all = golden("fast.dual.nfe").front();
  EXPECT_EQ(passes("--early-exit=false"), all);
  EXPECT_LT(passes("--early-exit"), all);
}

TEST(RunDiffusion, AnEntropyBoundNeedsNoSteps) {
  const auto passes = [](const char* bound) {
    const auto result = run_ids({"--alg", "entropy_bound", "--entropy-bound", bound, "--json"});
    EXPECT_EQ(result.code, 0) << result.err;
    return result.json()["forward_passes"].get<int>();
  };
  // All at once, and once more for those that the model predicts as masks.
  EXPECT_LE(passes("1000"), 3);
  EXPECT_EQ(passes("0"), 24);    // no token of this model is quite sure
  EXPECT_LE(passes("5.1"), 16);  // ln 160 = 5.08 is the most: two tokens at least
}

TEST(RunDiffusion, JsonHasTheFieldsThatChecksRead) {
  const auto result = run_dunlin(
      {"run", kModel, "--prompt-ids", "3,4,5", "-n", "8", "-s", "7", "--ignore-eos", "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto json = result.json();
  EXPECT_EQ(json.value("schema_version", 0), 1);
  EXPECT_EQ(json["prompt_ids"], (Ids{3, 4, 5}));
  EXPECT_EQ(json["ids"].size(), 8u);
  EXPECT_EQ(json["finish_reason"], "length");
  EXPECT_EQ(json["seed"], 7);
  EXPECT_EQ(json["timings"]["prompt_n"], 3);
  EXPECT_EQ(json["timings"]["predicted_n"], 8);
  EXPECT_EQ(json["forward_passes"], 7);  // 8 steps, of which the first decides nothing
  EXPECT_THAT(result.err, HasSubstr("dream"));
}

TEST(RunDiffusion, TokensPerForwardIsPrinted) {
  const auto result = run_dunlin(
      {"run", kModel, "--prompt-ids", "3,4,5", "-n", "8", "--steps", "4", "--ignore-eos"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("tokens per forward"));
  EXPECT_THAT(result.err, HasSubstr("4 forward passes"));
}

TEST(RunDiffusion, ManyPromptsAreAnsweredInOrderAsAlone) {
  const std::string prompts =
      "{\"ids\":[3,4,5,6,7,8,9,10,11,12]}\n{\"ids\":[9],\"max_tokens\":4}\n"
      "{\"ids\":[1,2],\"temperature\":0.9,\"seed\":3}\n{\"ids\":[]}\n{\"ids\":[9],\"min_p\":0.5}\n";
  std::vector<nlohmann::json> first;
  for (const char* parallel : {"1", "3"}) {
    const auto result = run_dunlin({"run", kModel, "--prompts", "-", "-n", "12", "--steps", "6",
                                    "-s", "5", "-np", parallel, "--ignore-eos", "--json", "-q"},
                                   {.text = prompts});
    EXPECT_EQ(result.code, 2);
    auto lines = result.json_lines();
    ASSERT_EQ(lines.size(), 5u) << result.out;
    for (auto& line : lines) {
      line.erase("timings");
      line.erase("backend");
    }
    EXPECT_THAT(lines[3]["error"]["message"].get<std::string>(), HasSubstr("stdin:4"));
    EXPECT_THAT(lines[4]["error"]["message"].get<std::string>(), HasSubstr("no meaning"));
    if (first.empty()) first = lines;
    EXPECT_EQ(lines, first);
  }
  EXPECT_EQ(first[1]["ids"].size(), 4u);
}

// Two at a time, of which the first takes one pass and the second eleven: the third does not wait for it.
TEST(RunDiffusion, AnAnswerThatIsDoneMakesRoomForTheNext) {
  const std::string prompts =
      "{\"ids\":[3,4],\"max_tokens\":2}\n{\"ids\":[5,6]}\n{\"ids\":[7,8],\"max_tokens\":2}\n";
  const auto result = run_dunlin({"run", kModel, "--prompts", "-", "-n", "12", "-np", "2",
                                  "--ignore-eos", "--json", "--stream", "-q"},
                                 {.text = prompts});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto lines = result.json_lines();
  std::vector<size_t> of_second, of_third;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (!lines[i].contains("masked")) continue;
    if (lines[i]["index"] == 1) of_second.push_back(i);
    if (lines[i]["index"] == 2) of_third.push_back(i);
  }
  EXPECT_EQ(of_second.size(), 11u);
  ASSERT_EQ(of_third.size(), 1u);
  EXPECT_LT(of_third.front(), of_second[2]);
}

TEST(RunDiffusion, AStreamHasALineForEveryPass) {
  const auto result = run_ids({"--alg", "entropy", "--steps", "6", "--json", "--stream"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto lines = result.json_lines();
  ASSERT_EQ(lines.size(), 7u);  // six steps and the answer
  int64_t masked = 24;
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(lines[i]["forward_passes"], i + 1);
    EXPECT_LT(lines[i]["masked"].get<int64_t>(), masked);
    masked = lines[i]["masked"].get<int64_t>();
    EXPECT_EQ(lines[i]["ids"].size(), 24u);
  }
  EXPECT_EQ(masked, 0);
  EXPECT_EQ(lines[5]["ids"], lines[6]["ids"]);
}

TEST(RunDiffusion, MasksOfThePromptAreFilledIn) {
  const auto result = run_dunlin({"run", kModel, "--prompt-ids", "3,157,5", "-n", "2",
                                  "--ignore-eos", "--json", "--stream", "--steps", "1", "-q"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.json_lines().front()["masked"], 0);
  const auto answer = result.json_lines().back();
  EXPECT_EQ(answer["prompt_ids"], (Ids{3, 157, 5}));
  const Ids infilled = answer["infilled_ids"];
  ASSERT_EQ(infilled.size(), 3u);
  EXPECT_EQ(infilled[0], 3);
  EXPECT_NE(infilled[1], 157);
  EXPECT_EQ(infilled[2], 5);
  EXPECT_EQ(answer["ids"].size(), 2u);
  // One step for each mask by default: of three the first step decides none.
  const auto steps = run_dunlin({"run", kModel, "--prompt-ids", "3,157,157,157,5", "-n", "0",
                                 "--ignore-eos", "--json", "-q"});
  ASSERT_EQ(steps.code, 0) << steps.err;
  EXPECT_EQ(steps.json()["forward_passes"], 2);
  EXPECT_EQ(steps.json()["ids"].size(), 0u);
  // Without a tokenizer all ids are the text.
  const auto plain = run_dunlin(
      {"run", kModel, "--prompt-ids", "3,157,5", "-n", "2", "--ignore-eos", "--steps", "1", "-q"});
  EXPECT_EQ(std::ranges::count(plain.out, ','), 4);
  EXPECT_TRUE(plain.out.starts_with(fmt::format("3,{},5,", infilled[1])));
  const auto cached = run_dunlin(
      {"run", kModel, "--prompt-ids", "3,157,5", "-n", "2", "--dlm-cache", "dual", "-q"});
  EXPECT_EQ(cached.code, 2);
  EXPECT_THAT(cached.err, HasSubstr("the prompt has masks"));
}

struct Refusal {
  std::vector<std::string> flags;
  const char* message;
};

TEST(RunDiffusion, RefusesWhatCannotBe) {
  const std::vector<Refusal> refusals = {
      {{"--steps", "0"}, "0 is outside 1.."},
      {{"--steps", "-3"}, "-3 is outside 1.."},
      {{"--block-length", "0"}, "0 is outside 1.."},
      {{"--alg", "greedy"}, "\"greedy\" is not one of"},
      {{"--dlm-cache", "both"}, "\"both\" is not one of"},
      {{"--threshold", "1.5"}, "1.5 is outside 0..1"},
      {{"--alg-temp", "-1"}, "-1 is outside 0.."},
      {{"--entropy-bound", "-1"}, "-1 is outside 0.."},
      {{"--eps", "0"}, "0 is outside"},
      {{"--min-p", "0.1"}, "--min-p has no meaning for a diffusion model"},
      {{"--repeat-penalty", "1.1"}, "--repeat-penalty has no meaning for a diffusion model"},
      {{"--logit-bias", "3+1"}, "--logit-bias has no meaning for a diffusion model"},
      {{"--stream"}, "--stream needs --json"},
      {{"--stop", "x"}, "stop strings need a tokenizer"},
      {{"-c", "16"}, "together they do not fit the context of 16"},
      {{"--dlm-cache", "dual", "--block-length", "2", "--steps", "4"}, "steps is 4, but 24 tokens"},
  };
  for (const auto& [flags, message] : refusals) {
    const auto result = run_ids(flags);
    EXPECT_EQ(result.code, 2) << fmt::format("{}", fmt::join(flags, " "));
    EXPECT_THAT(result.err, HasSubstr(message));
    EXPECT_EQ(result.out, "");
  }
  const auto nothing = run_dunlin({"run", kModel, "--prompt-ids", "3", "-n", "0", "-q"});
  EXPECT_EQ(nothing.code, 2);
  EXPECT_THAT(nothing.err, HasSubstr("max_tokens is 0"));
}

TEST(RunDiffusion, OtherModelsRefuseItsFlags) {
  const std::string qwen = test_data("data/qwen2_untied/model");
  const std::vector<Refusal> refusals = {
      {{"--steps", "4"}, "--steps is for diffusion models"},
      {{"--dlm-cache", "dual"}, "--dlm-cache is for diffusion models"},
      {{"--visual"}, "--visual is for diffusion models"},
  };
  for (const auto& [flags, message] : refusals) {
    std::vector<std::string> words = {"run", qwen, "--prompt-ids", "3", "-n", "1", "-q"};
    words.insert(words.end(), flags.begin(), flags.end());
    const auto result = run_dunlin(words);
    EXPECT_EQ(result.code, 2);
    EXPECT_THAT(result.err, HasSubstr(message));
  }
}

TEST(RunDiffusion, CommandsThatWriteTokenAfterTokenRefuseTheModel) {
  const TemporaryFolder folder;
  write_text_diffusion_model(folder.path(), 3);
  std::string text;
  for (int i = 0; i < 2000; ++i) text += "word ";
  write_all(folder.file("text"), text);
  const std::vector<std::vector<std::string>> commands = {
      {"eval", folder.path(), folder.file("text"), "-c", "32"},
      {"imatrix", folder.path(), folder.file("text"), "-c", "32", "-o",
       folder.file("imatrix.gguf")},
  };
  for (const auto& command : commands) {
    const auto result = run_dunlin(command);
    EXPECT_EQ(result.code, 2) << command[0] << ": " << result.err;
    EXPECT_THAT(result.err, HasSubstr("is a diffusion model")) << command[0];
  }
}

TEST(RunDiffusion, TextGoesThroughTokenizerAndTemplate) {
  const TemporaryFolder folder;
  write_text_diffusion_model(folder.path(), 3);
  const auto result = run_dunlin(
      {"run", folder.path(), "Hello", "-n", "12", "--steps", "3", "-q", "--ignore-eos", "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto json = result.json();
  EXPECT_EQ(json["ids"].size(), 12u);
  EXPECT_NE(json["text"], "");
  // The stop string is where the text is cut.
  const std::string text = json["text"];
  const std::string stop = text.substr(text.size() / 2, 1);
  const auto cut = run_dunlin({"run", folder.path(), "Hello", "-n", "12", "--steps", "3", "-q",
                               "--ignore-eos", "--json", "--stop", stop});
  ASSERT_EQ(cut.code, 0) << cut.err;
  EXPECT_EQ(cut.json()["text"], text.substr(0, text.find(stop)));
  EXPECT_EQ(cut.json()["finish_reason"], "stop");
}

// Dream is published without a tokenizer.json.
TEST(RunDiffusion, ReadsVocabularyAndMerges) {
  const TemporaryFolder folder, out;
  const std::string prepared = out.file("prepared");
  write_text_diffusion_model(folder.path(), 3);
  const auto answer = [](const std::string& model) {
    const auto result = run_dunlin(
        {"run", model, "Hello", "-n", "12", "--steps", "3", "-q", "--ignore-eos", "--json"});
    EXPECT_EQ(result.code, 0) << result.err;
    return result.code == 0 ? result.json() : nlohmann::json();
  };
  const auto with_tokenizer_json = answer(folder.path());
  write_vocabulary_files(folder.path(), "DreamTokenizer");
  ASSERT_EQ(run_dunlin({"convert", folder.path(), prepared, "--to", "prepared", "-q"}).code, 0);
  for (const std::string& model : {folder.path(), prepared}) {
    const auto json = answer(model);
    for (const char* field : {"prompt_ids", "ids", "text"})
      EXPECT_EQ(json[field], with_tokenizer_json[field]) << model << ": " << field;
  }
}

TEST(RunDiffusion, ShowsHowTheTextAppears) {
  const TemporaryFolder folder;
  write_text_diffusion_model(folder.path(), 3);
  const auto result = run_dunlin({"run", folder.path(), "Hello", "-n", "12", "--steps", "3", "-q",
                                  "--ignore-eos", "--visual"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("step 1, 1 forward passes"));
  EXPECT_THAT(result.err, HasSubstr("\u2591"));
  EXPECT_THAT(result.err, HasSubstr("0 masks left"));
  EXPECT_THAT(result.out, Not(HasSubstr("\u2591")));
}

TEST(RunDiffusion, ATokenizerWithoutTheMaskIsRefused) {
  const TemporaryFolder folder;
  write_text_diffusion_model(folder.path(), 606);
  const auto result = run_dunlin({"run", folder.path(), "Hello", "-n", "2", "-q"});
  EXPECT_EQ(result.code, 3);
  EXPECT_THAT(result.err, HasSubstr("the tokenizer has no token 606, which is the mask"));
}

TEST(VerifyDiffusion, TakesItsParametersFromTheFile) {
  const auto result = run_dunlin(
      {"verify", kModel, "--ref", test_data("data/dream_plain/golden.safetensors"), "--json"});
  ASSERT_EQ(result.code, 0) << result.out << result.err;
  EXPECT_TRUE(result.json()["pass"].get<bool>());
  const auto other =
      run_dunlin({"verify", kModel, "--ref", test_data("data/dream_plain/golden.safetensors"),
                  "--json", "--threshold", "0"});
  EXPECT_EQ(other.code, 6);
  EXPECT_THAT(other.json()["first_failure"].get<std::string>(), HasSubstr("fast."));
}

}  // namespace
}  // namespace dunlin
