// `dunlin chat` over a pipe.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>

#include "process.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

using testing::HasSubstr;
using Ids = std::vector<int32_t>;

class ChatTest : public testing::Test {
 protected:
  void SetUp() override { write_text_model(folder_.path()); }

  ProcessResult chat(const std::string& input, std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments = {"chat", folder_.path(), "--temp",      "0.9", "-s",
                                          "3",    "-q",           "--ignore-eos"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_dunlin(arguments, {.text = input});
  }

  TemporaryFolder folder_;
};

// What the cache holds after an answer that its length ended: everything but the last token.
Ids held(const nlohmann::json& answer) {
  Ids ids = answer["prompt_ids"].get<Ids>();
  const Ids more = answer["ids"].get<Ids>();
  ids.insert(ids.end(), more.begin(), more.end() - 1);
  return ids;
}

TEST_F(ChatTest, ATurnComputesOnlyFromTheFirstTokenThatDiffers) {
  const ProcessResult result = chat("Hello world\nAnd again\nOnce more\n", {"--json", "-n", "9"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto answers = result.json_lines();
  ASSERT_EQ(answers.size(), 3u);
  EXPECT_EQ(answers[0]["timings"]["cache_n"], 0);
  for (size_t turn = 1; turn < answers.size(); ++turn) {
    const Ids before = held(answers[turn - 1]);
    const Ids prompt = answers[turn]["prompt_ids"].get<Ids>();
    const auto [end, unused] = std::ranges::mismatch(prompt, before);
    EXPECT_EQ(answers[turn]["timings"]["cache_n"], end - prompt.begin());
    // The earlier prompt at least is found again.
    EXPECT_GE(answers[turn]["timings"]["cache_n"].get<size_t>() + 1,
              answers[turn - 1]["prompt_ids"].size());
    EXPECT_EQ(answers[turn]["ids"].size(), 9u);
  }
}

TEST_F(ChatTest, ReusedTokensGiveTheAnswerThatAColdPromptGives) {
  const auto answers = chat("Hello\nAnd again\n", {"--json", "-n", "8", "--precision", "exact"});
  const auto second = answers.json_lines().at(1);
  const std::string prompt = fmt::format("{}", fmt::join(second["prompt_ids"].get<Ids>(), ","));
  const ProcessResult cold =
      run_dunlin({"run", folder_.path(), "--prompt-ids", prompt, "-n", "8", "--temp", "0.9", "-s",
                  "3", "--ignore-eos", "--precision", "exact", "--json"});
  EXPECT_EQ(cold.json()["ids"], second["ids"]);
}

TEST_F(ChatTest, PlainOutputIsTheAnswersAndNothingElse) {
  const auto json = chat("Hello\n", {"--json", "-n", "5"}).json_lines();
  const ProcessResult plain = chat("Hello\n", {"-n", "5"});
  EXPECT_EQ(plain.code, 0);
  EXPECT_EQ(plain.out, json.at(0)["text"].get<std::string>() + "\n");
  EXPECT_EQ(plain.err, "");  // no prompt marks when stdin is no terminal
}

TEST_F(ChatTest, LinesJoinAfterABackslashAndBetweenQuotes) {
  const auto joined = chat("one\\\ntwo\n", {"--json", "-n", "2"}).json_lines();
  const auto quoted = chat("\"\"\"\none\ntwo\"\"\"\n", {"--json", "-n", "2"}).json_lines();
  ASSERT_EQ(joined.size(), 1u);
  ASSERT_EQ(quoted.size(), 1u);
  EXPECT_EQ(joined[0]["prompt_ids"], quoted[0]["prompt_ids"]);
}

TEST_F(ChatTest, ClearForgetsTheConversationAndRegenAnswersAnew) {
  const auto answers = chat("Hello\n/regen\n/clear\nHello\n", {"--json", "-n", "12"}).json_lines();
  ASSERT_EQ(answers.size(), 3u);
  EXPECT_EQ(answers[1]["prompt_ids"], answers[0]["prompt_ids"]);
  EXPECT_EQ(answers[1]["seed"], 4);
  EXPECT_NE(answers[1]["ids"], answers[0]["ids"]);
  EXPECT_EQ(answers[2]["prompt_ids"], answers[0]["prompt_ids"]);
}

TEST_F(ChatTest, SettingsAndTheSystemPromptTakeEffect) {
  const auto answers =
      chat("/set max-tokens 3\nHello\n/clear\n/system Be brief.\nHello\n", {"--json", "-n", "12"})
          .json_lines();
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0]["ids"].size(), 3u);
  EXPECT_GT(answers[1]["prompt_ids"].size(), answers[0]["prompt_ids"].size());
  const auto flag = chat("Hello\n", {"--json", "-n", "3", "-sys", "Be brief."}).json_lines();
  EXPECT_EQ(flag.at(0)["prompt_ids"], answers[1]["prompt_ids"]);
}

TEST_F(ChatTest, StatsAndHelpGoToStderr) {
  const ProcessResult result = chat("Hello\nAgain\n/stats\n/help\n/exit\nNever\n", {"-n", "4"});
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(result.err, HasSubstr("cached"));
  EXPECT_THAT(result.err, HasSubstr("/regen"));
  EXPECT_THAT(result.err, HasSubstr("/save FILE"));
}

TEST_F(ChatTest, OverflowIsAUsageErrorWithBothNumbers) {
  const ProcessResult result = chat("Hello world, this is far too long a message\n", {"-c", "16"});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, testing::ContainsRegex("the prompt has [0-9]+ tokens, the context 16"));
  EXPECT_EQ(result.out, "");
}

TEST_F(ChatTest, AnUnknownCommandOrSettingNamesTheNearest) {
  const ProcessResult command = chat("/statz\n");
  EXPECT_EQ(command.code, 2);
  EXPECT_THAT(command.err, HasSubstr("did you mean /stats?"));
  const ProcessResult setting = chat("/set top-q 0.5\n");
  EXPECT_EQ(setting.code, 2);
  EXPECT_THAT(setting.err, HasSubstr("did you mean top-"));
  EXPECT_EQ(chat("/set top-p 1.5\n").code, 2);
}

TEST(Chat, NeedsATokenizer) {
  const ProcessResult result =
      run_dunlin({"chat", test_data("data/llama_plain/model")}, {.text = "Hello\n"});
  EXPECT_EQ(result.code, 3);
  EXPECT_THAT(result.err, HasSubstr("tokenizer"));
}

}  // namespace
}  // namespace dunlin
