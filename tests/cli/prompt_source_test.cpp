// Where `dunlin run` takes its prompt from, and batches of prompts, as processes.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "process.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using Stdin = ProcessInput::Stdin;

class PromptSource : public testing::Test {
 protected:
  void SetUp() override {
    write_text_model(folder_.path());
    write_all(folder_.file("prompt.txt"), "Hello world\n");
  }

  ProcessResult run(std::vector<std::string> more, const ProcessInput& input = {}) const {
    std::vector<std::string> arguments = {"run", folder_.path(), "-n",    "3", "--temp",
                                          "0",   "--ignore-eos", "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_dunlin(arguments, input);
  }
  // The ids of the prompt that `text` is.
  nlohmann::json ids_of(const std::string& text) const {
    write_all(folder_.file("wanted.txt"), text);
    return run({"-f", folder_.file("wanted.txt")}).json()["prompt_ids"];
  }

  TemporaryFolder folder_;
};

TEST_F(PromptSource, TwoSourcesAreAnErrorThatNamesBoth) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> sources = {
      {{"text"}, "prompt"},
      {{"-p", "text"}, "--prompt"},
      {{"-f", folder_.file("prompt.txt")}, "--file"},
      {{"--prompts", folder_.file("prompt.txt")}, "--prompts"},
      {{"--prompt-ids", "1"}, "--prompt-ids"}};
  for (size_t i = 0; i < sources.size(); ++i) {
    for (size_t j = i + 1; j < sources.size(); ++j) {
      std::vector<std::string> flags = sources[i].first;
      flags.insert(flags.end(), sources[j].first.begin(), sources[j].first.end());
      const ProcessResult result = run(flags);
      EXPECT_EQ(result.code, 2);
      EXPECT_THAT(result.err, StartsWith(fmt::format("error: {} cannot be given together with {}",
                                                     sources[i].second, sources[j].second)));
      EXPECT_EQ(result.out, "");
    }
  }
}

TEST_F(PromptSource, ASystemPromptThatWouldBeDroppedIsAnError) {
  EXPECT_EQ(run({"-p", "x", "-sys", "Be brief.", "--raw"}).code, 2);
  EXPECT_EQ(run({"--prompt-ids", "1", "-sys", "Be brief."}).code, 2);
  EXPECT_EQ(run({"-p", "x", "-sys", "Be brief.", "-sysf", "file"}).code, 2);
  write_all(folder_.file("system.txt"), "Be brief.");
  EXPECT_EQ(run({"-p", "x", "-sysf", folder_.file("system.txt")}).json()["prompt_ids"],
            run({"-p", "x", "-sys", "Be brief."}).json()["prompt_ids"]);
  EXPECT_THAT(run({"-p", "x", "-sysf", "/nowhere"}).err, HasSubstr("/nowhere: No such file"));
}

TEST_F(PromptSource, StdinIsThePromptWhenThereIsNoOther) {
  const auto wanted = ids_of("Hello world\n");
  for (const Stdin in : {Stdin::file, Stdin::pipe}) {
    for (const std::vector<std::string>& flags :
         std::vector<std::vector<std::string>>{{}, {"-"}, {"-p", "-"}, {"-f", "-"}}) {
      const ProcessResult result = run(flags, {.text = "Hello world\n", .in = in});
      ASSERT_EQ(result.code, 0) << result.err;
      EXPECT_EQ(result.json()["prompt_ids"], wanted);
    }
  }
  for (const Stdin in : {Stdin::file, Stdin::pipe, Stdin::closed}) {
    const ProcessResult result = run({}, {.in = in});
    EXPECT_EQ(result.code, 2);
    EXPECT_THAT(result.err, StartsWith("error: no prompt: "));
  }
}

TEST_F(PromptSource, StdinGoesBeforeThePromptOfTheCommandLine) {
  const auto wanted = ids_of("some text\n\nSummarize.");
  for (const Stdin in : {Stdin::file, Stdin::pipe}) {
    for (const std::vector<std::string>& flags :
         std::vector<std::vector<std::string>>{{"Summarize."}, {"-p", "Summarize."}}) {
      for (const char* text : {"some text", "some text\n"}) {
        const ProcessResult result = run(flags, {.text = text, .in = in});
        ASSERT_EQ(result.code, 0) << result.err;
        EXPECT_EQ(result.json()["prompt_ids"], wanted);
        EXPECT_THAT(result.err,
                    HasSubstr(fmt::format("{} bytes before the prompt", std::string(text).size())));
      }
    }
  }
}

TEST_F(PromptSource, NothingOnStdinChangesNothing) {
  const auto wanted = ids_of("Summarize.");
  for (const Stdin in : {Stdin::file, Stdin::pipe, Stdin::closed}) {
    const ProcessResult result = run({"Summarize.", "-q"}, {.in = in});
    ASSERT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(result.json()["prompt_ids"], wanted);
    EXPECT_EQ(result.err, "");
  }
}

// ssh, containers and test harnesses leave such a pipe; waiting for its end would take for ever.
TEST_F(PromptSource, ASilentPipeIsLeftAlone) {
  const ProcessResult result = run({"Summarize."}, {.in = Stdin::silent_pipe});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.json()["prompt_ids"], ids_of("Summarize."));
  EXPECT_THAT(result.err, HasSubstr("nothing came"));
}

TEST_F(PromptSource, OtherSourcesLeaveStdinAlone) {
  for (const std::vector<std::string>& flags : std::vector<std::vector<std::string>>{
           {"-f", folder_.file("prompt.txt")}, {"--prompts", folder_.file("prompt.txt")}}) {
    const ProcessResult result = run(flags, {.in = Stdin::silent_pipe});
    EXPECT_EQ(result.code, 0) << result.err;
  }
}

TEST_F(PromptSource, FilesThatCannotBeThePrompt) {
  write_all(folder_.file("empty.txt"), "");
  EXPECT_THAT(run({"-f", folder_.path()}).err, HasSubstr("Is a directory"));
  EXPECT_THAT(run({"--prompts", folder_.path()}).err, HasSubstr("Is a directory"));
  EXPECT_THAT(run({"-f", folder_.file("empty.txt")}).err, HasSubstr("the prompt is empty"));
  EXPECT_THAT(run({"-f", "/dev/zero"}).err, HasSubstr("/dev/zero: more than"));
  EXPECT_THAT(run({"--prompts", "/dev/zero"}).err, HasSubstr("/dev/zero: a line has more than"));
  EXPECT_THAT(run({"-f", folder_.file("none")}).err, HasSubstr("No such file"));
}

TEST_F(PromptSource, APromptThatFailsLeavesTheOthersOfABatchAlone) {
  std::string too_long = "{\"ids\": [1";
  for (int i = 0; i < 40; ++i) too_long += ",1";
  const std::string batch = "Hello\n{\"prompt\": \"Hello\"\n" + too_long +
                            "]}\n{\"ids\": [99999]}\n{\"prompt\": \"Hello\"}\n";
  const ProcessInput input = {.text = batch};
  const std::vector<std::string> flags = {"--prompts", "-", "-c", "40", "-np", "2"};
  const ProcessResult result = run(flags, input);
  EXPECT_EQ(result.code, 2);
  const auto lines = result.json_lines();
  ASSERT_EQ(lines.size(), 5u) << result.out << result.err;
  EXPECT_EQ(lines[0]["ids"].size(), 3u);
  EXPECT_EQ(lines[4]["ids"], lines[0]["ids"]);
  const std::vector<std::string> messages = {"", "stdin:2: not valid JSON",
                                             "stdin:3: the prompt has 41 tokens, the context 40",
                                             "stdin:4: token 99999 of the prompt is outside"};
  for (size_t i = 1; i < 4; ++i) {
    EXPECT_EQ(lines[i]["schema_version"], 1);
    EXPECT_EQ(lines[i]["index"], i);
    EXPECT_EQ(lines[i]["error"]["code"], 2);
    EXPECT_THAT(lines[i]["error"]["message"].get<std::string>(), StartsWith(messages[i]));
  }
  EXPECT_THAT(result.err, testing::Not(HasSubstr("error: ")));

  // As text each answer has its line, and errors go to stderr.
  std::vector<std::string> text_flags = {"run", folder_.path(), "-n",          "3", "--temp",
                                         "0",   "-q",           "--ignore-eos"};
  text_flags.insert(text_flags.end(), flags.begin(), flags.end());
  const ProcessResult text = run_dunlin(text_flags, input);
  EXPECT_EQ(text.code, 2);
  const std::string answer = lines[0]["text"].get<std::string>() + "\n";
  EXPECT_EQ(text.out, answer + "\n\n\n" + answer);
  for (size_t i = 1; i < 4; ++i) EXPECT_THAT(text.err, HasSubstr("error: " + messages[i]));
}

TEST_F(PromptSource, ABatchOfErrorsOnlyEnds) {
  const ProcessResult result = run({"--prompts", "-"}, {.text = "{\n{\n{\n{\n{\n{\n{\n"});
  EXPECT_EQ(result.code, 2);
  EXPECT_EQ(result.json_lines().size(), 7u);
}

}  // namespace
}  // namespace dunlin
