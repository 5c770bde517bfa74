// `dunlin chat` at a terminal: editing, history, pasted text and Ctrl-C; and how signals end `dunlin run`.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <sstream>

#include "support/temporary_folder.h"
#include "support/text_model_folder.h"
#include "terminal_session.h"

namespace dunlin {
namespace {

using testing::HasSubstr;
using testing::Not;

// With the mark that asks for pasted text to be marked: no redrawn line has that.
constexpr const char* kPrompt = "\x1b[?2004h> ";
constexpr const char* kUp = "\x1b[A";
constexpr const char* kLeft = "\x1b[D";
constexpr const char* kCtrlA = "\x01";
constexpr const char* kCtrlC = "\x03";
constexpr const char* kCtrlD = "\x04";
constexpr const char* kCtrlR = "\x12";
constexpr const char* kCtrlW = "\x17";
constexpr const char* kDelete = "\x7f";

class Terminal : public testing::Test {
 protected:
  void SetUp() override { write_text_model(folder_.path()); }

  std::vector<std::string> arguments(std::vector<std::string> more = {}) const {
    std::vector<std::string> all = {"chat", folder_.path(), "--temp", "0", "-q", "--ignore-eos"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  std::map<std::string, std::string> environment() const {
    return {{"XDG_STATE_HOME", folder_.file("state")},
            {"XDG_CONFIG_HOME", folder_.path()},
            {"HOME", folder_.path()}};
  }

  // The prompt of each message that is sent by these keys, one session.
  std::vector<nlohmann::json> prompts_of(const std::vector<std::string>& keys) const {
    TerminalSession session(arguments({"--json", "-n", "2"}), environment(), folder_.file("out"));
    for (const std::string& each : keys) {
      EXPECT_TRUE(session.shows(kPrompt)) << session.screen();
      session.type(each);
    }
    EXPECT_TRUE(session.shows(kPrompt)) << session.screen();
    session.type(kCtrlD);
    EXPECT_EQ(session.exit_code(), 0) << session.screen();
    std::vector<nlohmann::json> prompts;
    std::istringstream lines(read_all(folder_.file("out")));
    for (std::string line; std::getline(lines, line);)
      prompts.push_back(nlohmann::json::parse(line)["prompt_ids"]);
    return prompts;
  }

  // The same for messages that come over a pipe.
  nlohmann::json piped(const std::string& message) const {
    std::vector<std::string> all = arguments({"--json", "-n", "2"});
    return run_dunlin(all, {.text = message + "\n"}).json_lines().at(0)["prompt_ids"];
  }

  TemporaryFolder folder_;
};

TEST_F(Terminal, ALineIsEdited) {
  const auto wanted = piped("Hello world");
  const std::vector<std::string> ways = {
      "Hello world\r",
      std::string("Hellx") + kDelete + "o world\r",
      std::string("ello world") + kCtrlA + "H\r",
      std::string("Hello word") + kLeft + "l\r",
      std::string("Hello there") + kCtrlW + "world\r",
  };
  for (const std::string& keys : ways) EXPECT_EQ(prompts_of({keys}).at(0), wanted) << keys;
}

TEST_F(Terminal, TextIsUtf8WhateverTheLocale) {
  const auto wanted = piped("größer 日本 🙂");
  EXPECT_EQ(prompts_of({"größer 日本 🙂\r"}).at(0), wanted);
  EXPECT_EQ(prompts_of({std::string("größer 日本 🙂x") + kDelete + "\r"}).at(0), wanted);
}

TEST_F(Terminal, PastedLinesAreOneMessage) {
  const auto wanted = piped("\"\"\"one\n/exit\nthree\"\"\"");
  EXPECT_EQ(prompts_of({"\x1b[200~one\r/exit\r\x1b[201~three\r"}).at(0), wanted);
}

TEST_F(Terminal, SeveralLinesAreOneMessage) {
  const auto wanted = piped("one\\\ntwo");
  EXPECT_EQ(prompts_of({"one\\\rtwo\r"}).at(0), wanted);
  EXPECT_EQ(prompts_of({"\"\"\"\rone\rtwo\"\"\"\r"}).at(0), wanted);
}

TEST_F(Terminal, TheHistoryOutlivesTheChat) {
  const auto hello = piped("Hello world");
  const auto lines = piped("one\\\ntwo");
  ASSERT_EQ(prompts_of({"Hello world\r", "/clear\r", "one\\\rtwo\r"}).size(), 2u);
  EXPECT_EQ(prompts_of({std::string(kUp) + "\r"}).at(0), lines);
  EXPECT_EQ(prompts_of({std::string(kCtrlR) + "worl\r"}).at(0), hello);
  const std::string history = folder_.file("state/dunlin/chat_history");
  EXPECT_THAT(read_all(history), testing::StartsWith("Hello world\n/clear\none\\ntwo\n"));
}

TEST_F(Terminal, WithoutHistoryNothingIsWritten) {
  TerminalSession session(arguments({"--no-history", "-n", "2"}), environment());
  ASSERT_TRUE(session.shows(kPrompt));
  session.type("Hello\r");
  ASSERT_TRUE(session.shows(kPrompt));
  session.type("/exit\r");
  EXPECT_EQ(session.exit_code(), 0);
  EXPECT_FALSE(std::filesystem::exists(folder_.file("state")));
}

TEST_F(Terminal, TabCompletesCommands) {
  TerminalSession session(arguments(), environment());
  ASSERT_TRUE(session.shows(kPrompt));
  session.type("/he\t\r");
  EXPECT_TRUE(session.shows("/regen")) << session.screen();
  ASSERT_TRUE(session.shows(kPrompt));
  session.type("/exit\r");
  EXPECT_EQ(session.exit_code(), 0);
}

TEST_F(Terminal, AnErrorLeavesTheConversationGoing) {
  TerminalSession session(arguments({"-n", "2"}), environment());
  ASSERT_TRUE(session.shows(kPrompt));
  session.type("/set top-p 7\r");
  EXPECT_TRUE(session.shows("error: "));
  EXPECT_TRUE(session.shows(kPrompt));
  session.type("/load /nowhere\r");
  EXPECT_TRUE(session.shows("No such file"));
  EXPECT_TRUE(session.shows(kPrompt));
  session.type("Hello\r");
  EXPECT_TRUE(session.shows(kPrompt));
  session.type(kCtrlD);
  EXPECT_EQ(session.exit_code(), 0);
}

TEST_F(Terminal, CtrlCTwiceAtThePromptLeaves) {
  TerminalSession session(arguments(), environment());
  ASSERT_TRUE(session.shows(kPrompt));
  session.type(std::string("half a line") + kCtrlC);
  EXPECT_TRUE(session.shows("once more"));
  EXPECT_TRUE(session.shows(kPrompt));
  session.type(kCtrlC);
  EXPECT_EQ(session.exit_code(), 130);
}

TEST_F(Terminal, AMessageBetweenTwoCtrlCsStays) {
  TerminalSession session(arguments({"-n", "2"}), environment());
  ASSERT_TRUE(session.shows(kPrompt));
  session.type(kCtrlC);
  EXPECT_TRUE(session.shows("once more"));
  EXPECT_TRUE(session.shows(kPrompt));
  session.type("Hello\r");
  EXPECT_TRUE(session.shows(kPrompt));
  session.type(kCtrlC);
  EXPECT_TRUE(session.shows("once more"));
  EXPECT_TRUE(session.shows(kPrompt));
  session.type("/exit\r");
  EXPECT_EQ(session.exit_code(), 0);
}

// What is typed during an answer waits for its end, Ctrl-D too.
TEST_F(Terminal, CtrlDDuringAnAnswerEndsTheChatAfterIt) {
  const std::vector<std::string> all = arguments({"--backend", "reference", "-n", "60"});
  const std::string twice = std::string(kCtrlD) + kCtrlD;
  for (const auto& [keys, messages] : {std::pair<std::string, std::string>(kCtrlD, "Hello\n"),
                                       {twice, "Hello\n"},
                                       {std::string("Again\r") + kCtrlD, "Hello\nAgain\n"}}) {
    const std::string output = folder_.file("out");
    TerminalSession session(all, environment(), output);
    ASSERT_TRUE(session.shows(kPrompt));
    session.type("Hello\r");
    for (int i = 0; i < 60000 && read_all(output).empty(); ++i) ::usleep(1000);  // until it begins
    session.type(keys);
    EXPECT_EQ(session.exit_code(), 0) << session.screen();
    EXPECT_EQ(read_all(output), run_dunlin(all, {.text = messages}).out);
  }
}

TEST_F(Terminal, CtrlCStopsTheAnswerAndOnceMoreLeaves) {
  // Some seconds of answer.
  TerminalSession session(arguments({"--backend", "reference", "-c", "500"}), environment());
  ASSERT_TRUE(session.shows(kPrompt));
  session.type("Hello\r");
  ASSERT_TRUE(session.shows("Hello"));
  ASSERT_TRUE(session.shows("\n"));
  session.type(kCtrlC);
  EXPECT_TRUE(session.shows(kPrompt)) << session.screen();
  EXPECT_THAT(session.screen(), Not(HasSubstr("is full")));
  session.type(kCtrlC);
  EXPECT_EQ(session.exit_code(), 130);
}

// What was answered before the signal is there, whole.
TEST_F(Terminal, ASignalEndsARunBetweenAnswers) {
  constexpr int kPrompts = 20'000;  // of which only some are answered
  std::string prompts;
  for (int i = 0; i < kPrompts; ++i) prompts += "{\"ids\": [3, 4, 5]}\n";
  write_all(folder_.file("prompts.jsonl"), prompts);
  const std::string output = folder_.file("answers.jsonl");
  for (const int signal : {SIGINT, SIGTERM}) {
    std::filesystem::remove(output);
    TerminalSession session({"run", folder_.path(), "--prompts", folder_.file("prompts.jsonl"),
                             "-n", "20", "--ignore-eos", "--json", "-q"},
                            environment(), output);
    for (int i = 0; i < 60000 && read_all(output).empty(); ++i) ::usleep(1000);  // until it begins
    session.send(signal);
    EXPECT_EQ(session.exit_code(), 128 + signal) << session.screen();
    std::istringstream lines(read_all(output));
    int answers = 0;
    for (std::string line; std::getline(lines, line); ++answers) {
      const auto answer = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
      ASSERT_TRUE(answer.is_object()) << line;
      EXPECT_EQ(answer["ids"].size(), 20u);
    }
    EXPECT_GT(answers, 0);
    EXPECT_LT(answers, kPrompts);
  }
}

}  // namespace
}  // namespace dunlin
