// `dunlin chat` with a model that fills in masks, over a pipe.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>

#include "process.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

using testing::HasSubstr;
using testing::Not;
using Ids = std::vector<int32_t>;

class ChatDiffusion : public testing::Test {
 protected:
  void SetUp() override { write_text_diffusion_model(folder_.path(), 3); }

  ProcessResult chat(const std::string& input, std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments = {"chat", folder_.path(), "--temp", "0.9", "--steps",
                                          "4",    "-s",           "3",      "-q",  "--ignore-eos"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_dunlin(arguments, {.text = input});
  }

  TemporaryFolder folder_;
};

TEST_F(ChatDiffusion, EveryAnswerIsTheCanvasThatRunFillsIn) {
  const ProcessResult result = chat("Hello\nAnd again\n", {"--json", "-n", "8"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto answers = result.json_lines();
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_GT(answers[1]["prompt_ids"].size(), answers[0]["prompt_ids"].size());
  for (const auto& answer : answers) {
    EXPECT_EQ(answer["ids"].size(), 8u);
    EXPECT_EQ(answer["forward_passes"], 4);
    EXPECT_DOUBLE_EQ(answer["tokens_per_forward"].get<double>(), 2.0);
    const std::string prompt = fmt::format("{}", fmt::join(answer["prompt_ids"].get<Ids>(), ","));
    const ProcessResult run =
        run_dunlin({"run", folder_.path(), "--prompt-ids", prompt, "-n", "8", "--steps", "4",
                    "--temp", "0.9", "-s", "3", "--ignore-eos", "--json", "-q"});
    ASSERT_EQ(run.code, 0) << run.err;
    EXPECT_EQ(run.json()["ids"], answer["ids"]);
    EXPECT_EQ(run.json()["text"], answer["text"]);
  }
}

TEST_F(ChatDiffusion, PlainOutputIsTheAnswersAndNothingElse) {
  const auto json = chat("Hello\n", {"--json", "-n", "8"}).json_lines();
  const ProcessResult plain = chat("Hello\n", {"-n", "8"});
  EXPECT_EQ(plain.code, 0);
  EXPECT_EQ(plain.out, json.at(0)["text"].get<std::string>() + "\n");
  EXPECT_EQ(plain.err, "");
}

TEST_F(ChatDiffusion, AnotherSeedAnswersAnewAndClearForgets) {
  const auto answers = chat("Hello\n/regen\n/clear\nHello\n", {"--json", "-n", "8"}).json_lines();
  ASSERT_EQ(answers.size(), 3u);
  EXPECT_EQ(answers[1]["prompt_ids"], answers[0]["prompt_ids"]);
  EXPECT_EQ(answers[1]["seed"], 4);
  EXPECT_NE(answers[1]["ids"], answers[0]["ids"]);
  EXPECT_EQ(answers[2]["prompt_ids"], answers[0]["prompt_ids"]);
}

TEST_F(ChatDiffusion, SettingsTakeEffectAndWhatHasNoMeaningIsRefused) {
  const auto answers = chat("/set max-tokens 4\nHello\n", {"--json", "-n", "8"}).json_lines();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0]["ids"].size(), 4u);

  const ProcessResult shown = chat("/set\n", {"-n", "8"});
  EXPECT_THAT(shown.err, HasSubstr("temp 0.9\n"));
  EXPECT_THAT(shown.err, HasSubstr("max-tokens 8\n"));
  EXPECT_THAT(shown.err, Not(HasSubstr("min-p")));

  const ProcessResult refused = chat("/set min-p 0.1\n");
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.err, HasSubstr("min-p has no meaning for a diffusion model"));
  const ProcessResult unknown = chat("/set top-q 0.5\n");
  EXPECT_THAT(unknown.err, HasSubstr("did you mean top-"));
  const ProcessResult longer = chat("/set max-tokens 200\nHello\n", {"-n", "8"});
  EXPECT_EQ(longer.code, 2);
  EXPECT_THAT(longer.err, HasSubstr("this chat has memory for answers of 128 tokens"));
}

TEST_F(ChatDiffusion, MessagesAreSavedAndLoadedWithoutACache) {
  const std::string file = folder_.file("chat.dunlin");
  const ProcessResult saved = chat("Hello\n/save " + file + "\n", {"--json", "-n", "8"});
  ASSERT_EQ(saved.code, 0) << saved.err;
  EXPECT_THAT(saved.err, HasSubstr("saved 2 messages\n"));
  const auto whole = chat("Hello\nAnd again\n", {"--json", "-n", "8"}).json_lines();
  const ProcessResult loaded = chat("/load " + file + "\nAnd again\n", {"--json", "-n", "8"});
  ASSERT_EQ(loaded.code, 0) << loaded.err;
  EXPECT_THAT(loaded.err, HasSubstr("loaded 2 messages\n"));
  EXPECT_EQ(loaded.json()["prompt_ids"], whole.at(1)["prompt_ids"]);
  EXPECT_EQ(loaded.json()["ids"], whole.at(1)["ids"]);
}

// One model's conversation goes on with the other, which computes it again.
TEST_F(ChatDiffusion, ModelsReadEachOthersConversations) {
  const TemporaryFolder other;
  write_text_model(other.path());
  const std::string file = folder_.file("chat.dunlin");
  ASSERT_EQ(chat("Hello\n/save " + file + "\n", {"-n", "8"}).code, 0);
  const ProcessResult loaded =
      run_dunlin({"chat", other.path(), "-q", "-n", "2"}, {.text = "/load " + file + "\nGo on\n"});
  EXPECT_EQ(loaded.code, 0) << loaded.err;
  EXPECT_THAT(loaded.err, HasSubstr("loaded 2 messages; they were saved with other settings"));
  const std::string second = folder_.file("second.dunlin");
  ASSERT_EQ(
      run_dunlin({"chat", other.path(), "-q", "-n", "2"}, {.text = "Hello\n/save " + second + "\n"})
          .code,
      0);
  EXPECT_EQ(chat("/load " + second + "\nGo on\n", {"-n", "8"}).code, 0);
}

TEST_F(ChatDiffusion, StatsAndTheStreamTellThePasses) {
  const ProcessResult result = chat("Hello\n/stats\n", {"-n", "8"});
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(result.err, HasSubstr("4 forward passes (2.00 tokens per forward)"));
  const auto lines = chat("Hello\n", {"-n", "8", "--json", "--stream"}).json_lines();
  ASSERT_EQ(lines.size(), 5u);  // four passes and the answer
  EXPECT_EQ(lines[3]["masked"], 0);
  EXPECT_EQ(lines[3]["ids"], lines[4]["ids"]);
  EXPECT_EQ(chat("Hello\n", {"--stream"}).code, 2);
}

TEST_F(ChatDiffusion, OverflowIsAUsageErrorWithBothNumbers) {
  const ProcessResult result = chat("Hello\n", {"-c", "16"});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("together they do not fit the context of 16"));
  EXPECT_EQ(result.out, "");
}

TEST(ChatOfTokens, RefusesFlagsOfDiffusion) {
  const TemporaryFolder folder;
  write_text_model(folder.path());
  const ProcessResult result =
      run_dunlin({"chat", folder.path(), "-q", "--steps", "4"}, {.text = "Hello\n"});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("--steps is for diffusion models"));
}

}  // namespace
}  // namespace dunlin
