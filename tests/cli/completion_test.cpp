// The completion scripts, by the shells that read them.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>

#include "process.h"

namespace dunlin {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::Not;

std::vector<std::string> output_of(const std::string& command) {
  std::vector<std::string> words;
  std::FILE* const pipe = ::popen(command.c_str(), "r");
  std::string text;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) text += static_cast<char>(c);
  EXPECT_EQ(::pclose(pipe), 0) << command;
  std::istringstream stream(text);
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

bool is_there(const char* shell) {
  return std::system(fmt::format("command -v {} > /dev/null", shell).c_str()) == 0;
}

class BashCompletion : public testing::Test {
 protected:
  void SetUp() override {
    const ProcessResult script = run_dunlin({"completion", "bash"});
    ASSERT_EQ(script.code, 0) << script.err;
    write_all(folder_.file("script"), script.out);
    write_all(folder_.file("model.gguf"), "");
  }

  // What is offered for the last of the words.
  std::vector<std::string> offered(const std::vector<std::string>& words) const {
    std::string quoted;
    for (const std::string& word : words) quoted += fmt::format(" '{}'", word);
    write_all(
        folder_.file("test"),
        fmt::format("cd '{}'\nsource ./script\nCOMP_WORDS=(dunlin{})\nCOMP_CWORD={}\n_dunlin\n"
                    "printf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
                    folder_.path(), quoted, words.size()));
    return output_of(fmt::format("bash -u '{}'", folder_.file("test")));
  }

  TemporaryFolder folder_;
};

TEST_F(BashCompletion, OffersCommandsFlagsWordsAndFiles) {
  EXPECT_THAT(offered({""}), testing::IsSupersetOf({"run", "chat", "bench", "completion"}));
  EXPECT_THAT(offered({"ch"}), ElementsAre("chat"));
  EXPECT_THAT(offered({"bench", ""}), ElementsAre("model"));
  EXPECT_THAT(offered({"bench", "model", "--rep"}), ElementsAre("--repetitions"));
  for (const char* command : {"run", "eval", "verify"})
    EXPECT_THAT(offered({command, "--wa"}), ElementsAre("--watch"));
  EXPECT_THAT(offered({"verify", "--bi"}), ElementsAre("--bisect"));
  EXPECT_THAT(offered({"run", "m", "--top-"}), ElementsAre("--top-k", "--top-p"));
  EXPECT_THAT(offered({"chat", "m", "--prompt-"}), Not(Contains("--prompt-ids")));
  EXPECT_THAT(offered({"run", "m", "-n"}), testing::IsSupersetOf({"-n", "-np"}));
  EXPECT_THAT(offered({"run", "m", "--backend", ""}), testing::IsSupersetOf({"cpu", "reference"}));
  EXPECT_THAT(offered({"run", "m", "--precision", "e"}), ElementsAre("exact"));
  EXPECT_THAT(offered({"completion", ""}), testing::IsSupersetOf({"bash", "zsh", "fish"}));
  EXPECT_THAT(offered({"run", "mod"}), ElementsAre("model.gguf"));
  EXPECT_THAT(offered({"run", "m", "-f", "mod"}), ElementsAre("model.gguf"));
}

TEST_F(BashCompletion, OffersNothingForANumber) {
  EXPECT_THAT(offered({"run", "m", "--temp", ""}), testing::IsEmpty());
}

TEST(Completion, OtherShellsReadTheirScripts) {
  const TemporaryFolder folder;
  for (const char* shell : {"zsh", "fish"}) {
    const ProcessResult script = run_dunlin({"completion", shell});
    ASSERT_EQ(script.code, 0) << script.err;
    EXPECT_THAT(script.out, testing::HasSubstr("dunlin"));
    if (!is_there(shell)) continue;
    write_all(folder.file(shell), script.out);
    EXPECT_EQ(std::system(fmt::format("{} -n '{}'", shell, folder.file(shell)).c_str()), 0);
  }
  EXPECT_EQ(run_dunlin({"completion", "tcsh"}).code, 2);
  EXPECT_EQ(run_dunlin({"completion"}).code, 2);
}

}  // namespace
}  // namespace dunlin
