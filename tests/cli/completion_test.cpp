// The completion scripts, by the shells that read them.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <sstream>

#include "process.h"
#include "support/temporary_folder.h"

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
  EXPECT_THAT(offered({"bench", ""}),
              testing::IsSupersetOf({"model", "forward", "sweep", "optimizations"}));
  EXPECT_THAT(offered({"bench", "sweep", "--rep"}), ElementsAre("--repetitions", "--report"));
  EXPECT_THAT(offered({"bench", "optimizations", "m", "--we"}), ElementsAre("--weights"));
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

// Writes the script of the shell into the folder.
std::string completion_script(const TemporaryFolder& folder, const char* shell) {
  const ProcessResult script = run_dunlin({"completion", shell});
  EXPECT_EQ(script.code, 0) << script.err;
  write_all(folder.file(shell), script.out);
  return folder.file(shell);
}

TEST(Completion, FishOffersFlags) {
  const TemporaryFolder folder;
  const std::string script = completion_script(folder, "fish");
  if (!is_there("fish")) GTEST_SKIP() << "there is no fish";
  const auto offered = output_of(fmt::format(
      "HOME='{}' fish --no-config -c \"source '{}'; complete -C 'dunlin run m --top-'\"",
      folder.path(), script));
  EXPECT_THAT(offered, testing::IsSupersetOf({"--top-k", "--top-p"}));
  EXPECT_THAT(offered, Not(Contains("--temp")));
}

TEST(Completion, ZshReadsItsScript) {
  const TemporaryFolder folder;
  const std::string script = completion_script(folder, "zsh");
  if (!is_there("zsh")) GTEST_SKIP() << "there is no zsh";
  // ZDOTDIR, else the home folder, gets what compinit remembers.
  EXPECT_THAT(output_of(fmt::format("ZDOTDIR='{}' zsh -f -c \"source '{}' && echo read\"",
                                    folder.path(), script)),
              ElementsAre("read"));
}

TEST(Completion, OtherShellsAreRefused) {
  EXPECT_EQ(run_dunlin({"completion", "tcsh"}).code, 2);
  EXPECT_EQ(run_dunlin({"completion"}).code, 2);
}

}  // namespace
}  // namespace dunlin
