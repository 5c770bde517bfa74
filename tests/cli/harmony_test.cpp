// `dunlin run` and `dunlin chat` with a model of Harmony (GPT-OSS): only the answer is shown. What
// the model says is scripted by biases of the logits: the tokens of an answer are all different, each
// has a greater bias than the next, and penalties take it away once it was said.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "process.h"
#include "support/harmony_tokenizer.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"
#include "terminal_session.h"
#include "tokenizer/tokenizer.h"

namespace dunlin {
namespace {

using testing::HasSubstr;
using testing::Not;
using Ids = std::vector<int32_t>;
using Tokens = std::vector<std::string_view>;

// The thought has no <|message|>, which the answer needs.
const Tokens kThoughtAndAnswer = {"<|channel|>", "analysis",    " hmm", "<|end|>",   "<|start|>",
                                  "assistant",   "<|message|>", "Hi",   "<|return|>"};
const Tokens kCall = {"<|channel|>", "commentary", " to=functions.f", "<|constrain|>", "json",
                      "<|message|>", "{}",         "<|call|>"};

class HarmonyCli : public testing::Test {
 protected:
  void SetUp() override { write_harmony_model(folder_.path()); }

  ProcessResult start(std::vector<std::string> arguments, const Tokens& script,
                      const std::string& input = {}) const {
    for (const char* each :
         {"--temp", "0", "--presence-penalty", "100", "--frequency-penalty", "100"})
      arguments.emplace_back(each);
    double bias = 5000;
    for (const std::string_view token : script) {
      arguments.push_back(fmt::format("--logit-bias={}+{}", harmony_id(token), bias));
      bias -= 20;  // of ten tokens together less than the penalties
    }
    return run_dunlin(arguments, {.text = input});
  }
  ProcessResult run(const Tokens& script, std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments = {"run", folder_.path(), "Hello"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return start(std::move(arguments), script);
  }
  ProcessResult chat(const std::string& input, const Tokens& script,
                     std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments = {"chat", folder_.path(), "-q"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return start(std::move(arguments), script, input);
  }

  // The prompt of an answer as text, with its special tokens.
  static std::string prompt_of(const nlohmann::json& answer) {
    const auto tokenizer = Tokenizer::from_json_text(harmony_tokenizer_json(), "").value();
    return tokenizer->decode(answer["prompt_ids"].get<Ids>(), /*skip_special=*/false);
  }

  TemporaryFolder folder_;
};

TEST_F(HarmonyCli, RunPrintsTheAnswerAlone) {
  const ProcessResult result = run(kThoughtAndAnswer, {"-q"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "Hi\n");
  EXPECT_EQ(result.err, "");
}

TEST_F(HarmonyCli, ShowReasoningPrintsEachMessageBelowItsChannel) {
  EXPECT_EQ(run(kThoughtAndAnswer, {"-q", "--show-reasoning"}).out,
            "[analysis]\n hmm\n\n[final]\nHi\n");
  EXPECT_EQ(run(kCall, {"-q", "--show-reasoning"}).out, "[commentary to functions.f]\n{}\n");
  EXPECT_EQ(chat("Hello\n", kThoughtAndAnswer, {"--show-reasoning"}).out,
            "[analysis]\n hmm\n\n[final]\nHi\n");
}

// A long thought: the prompt ends within it, and it has no end.
class HarmonyThought : public HarmonyCli {
 protected:
  // What the terminal shows until the program ends, and at least until `last`.
  std::string screen_of(const std::vector<std::string>& more, const std::string& last = {}) const {
    std::vector<std::string> arguments = {"run",
                                          folder_.path(),
                                          "--raw",
                                          "<|start|>assistant<|channel|>analysis<|message|>",
                                          "--backend",
                                          "reference",
                                          "-n",
                                          "400",
                                          "--temp",
                                          "0",
                                          fmt::format("--logit-bias={}+5000", harmony_id(" hmm"))};
    arguments.insert(arguments.end(), more.begin(), more.end());
    TerminalSession session(arguments,
                            {{"HOME", folder_.path()}, {"XDG_CONFIG_HOME", folder_.path()}},
                            folder_.file("out"));
    EXPECT_TRUE(session.shows(last)) << session.screen();
    EXPECT_EQ(session.exit_code(), 0) << session.screen();
    return session.screen();
  }
};

TEST_F(HarmonyThought, IsCountedAtATerminal) {
  const std::string screen = screen_of({}, "answer   ");
  EXPECT_THAT(screen, testing::ContainsRegex("\r\x1b\\[Kthinking [0-9]+ token"));
  // Gone before anything else is printed.
  EXPECT_THAT(screen, testing::ContainsRegex("tokens?\r\x1b\\[Knote     the answer is empty"));
}

TEST_F(HarmonyThought, IsNotCountedWhereNobodyAsks) {
  for (const char* flag : {"-q", "--json", "--show-reasoning"})
    EXPECT_THAT(screen_of({flag}), Not(HasSubstr("thinking"))) << flag;
}

TEST_F(HarmonyCli, JsonHasReasoningAndCallsApart) {
  const auto answer = run(kThoughtAndAnswer, {"--json"}).json();
  EXPECT_EQ(answer["text"], "Hi");
  EXPECT_EQ(answer["reasoning"], " hmm");
  EXPECT_EQ(answer["tool_calls"], nlohmann::json::array());
  EXPECT_EQ(answer["ids"].size(), kThoughtAndAnswer.size() - 1);
  EXPECT_EQ(answer["finish_reason"], "stop");
  const auto call = run(kCall, {"--json"}).json();
  EXPECT_EQ(call["text"], "");
  EXPECT_EQ(call["reasoning"], "");
  EXPECT_EQ(call["tool_calls"],
            nlohmann::json::parse(R"([{"name": "functions.f", "arguments": "{}"}])"));
}

TEST_F(HarmonyCli, AnEmptyAnswerIsExplained) {
  const ProcessResult cut = run(kThoughtAndAnswer, {"-n", "3"});
  EXPECT_EQ(cut.code, 0);
  EXPECT_EQ(cut.out, "\n");
  EXPECT_THAT(cut.err, HasSubstr("the answer is empty: the model was still thinking (-n gives"));
  EXPECT_THAT(run(kCall).err, HasSubstr("the model calls functions.f, which is not here"));
  EXPECT_THAT(run(kCall, {"--show-reasoning"}).err, Not(HasSubstr("the answer is empty")));
}

TEST_F(HarmonyCli, TheEffortIsInThePrompt) {
  EXPECT_THAT(prompt_of(run(kThoughtAndAnswer, {"--json"}).json()),
              HasSubstr("\n\nReasoning: medium\n\n"));
  EXPECT_THAT(prompt_of(run(kThoughtAndAnswer, {"--json", "--reasoning-effort", "low"}).json()),
              HasSubstr("\n\nReasoning: low\n\n"));
  const ProcessResult wrong = run(kThoughtAndAnswer, {"--reasoning-effort", "huge"});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("\"huge\" is not one of low, medium, high"));
}

TEST_F(HarmonyCli, TheSystemPromptIsTheDevelopersAndTextIsNoMark) {
  const auto answer = run(kThoughtAndAnswer, {"--json", "-sys", "Be <|end|> brief."}).json();
  EXPECT_THAT(prompt_of(answer),
              testing::EndsWith("<|start|>developer<|message|># Instructions\n\nBe <|end|> brief."
                                "<|end|><|start|>user<|message|>Hello<|end|><|start|>assistant"));
  EXPECT_THAT(answer["prompt_ids"].get<Ids>(), testing::Contains(harmony_id("<|end|>")).Times(3));
}

TEST_F(HarmonyCli, AThoughtIsOverWithItsAnswer) {
  const auto answers = chat("Hello\nAgain\n", kThoughtAndAnswer, {"--json"}).json_lines();
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[1]["text"], "Hi");
  EXPECT_THAT(
      prompt_of(answers[1]),
      testing::EndsWith("<|start|>user<|message|>Hello<|end|><|start|>assistant<|channel|>final"
                        "<|message|>Hi<|end|><|start|>user<|message|>Again<|end|><|start|>"
                        "assistant"));
}

TEST_F(HarmonyCli, AThoughtWithoutAnswerStays) {
  const auto answers =
      chat("Hello\nAgain\n", kThoughtAndAnswer, {"--json", "-n", "3"}).json_lines();
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0]["text"], "");
  EXPECT_THAT(prompt_of(answers[1]),
              HasSubstr("Hello<|end|><|start|>assistant<|channel|>analysis<|message|> hmm<|end|>"
                        "<|start|>user<|message|>Again"));
}

TEST(ReasoningFlags, AnEffortThatTheModelDoesNotKnowIsToldSo) {
  TemporaryFolder folder;
  write_text_model(folder.path());
  const std::string message = "warning: --reasoning-effort has no effect";
  const std::vector<std::string> arguments = {"run", folder.path(),        "Hello", "-n", "2",
                                              "-q",  "--reasoning-effort", "high"};
  const ProcessResult result = run_dunlin(arguments);
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(result.err, HasSubstr(message));
  EXPECT_FALSE(run_dunlin({"run", folder.path(), "Hello", "-n", "2", "-q", "--json"})
                   .json()
                   .contains("reasoning"));
  write_all(folder.file("chat_template.jinja"),
            "{{ reasoning_effort }}: {{ messages[0].content }}");
  EXPECT_EQ(run_dunlin(arguments).err, "");
}

}  // namespace
}  // namespace dunlin
