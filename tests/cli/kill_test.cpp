// kill -9 at random moments of convert and quantize: the output is absent or whole, and the next run
// goes on to the same bits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <random>

#include "process.h"
#include "support/synthetic_model.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;
using Arguments = std::vector<std::string>;

class Kill : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directory(model_);
    ASSERT_TRUE(
        write_synthetic_directory(test_data("data/kernel_llama_9_3/recipe.json"), model_).ok());
  }

  // Of a file or directory.
  static std::map<std::string, std::string> files(const std::string& path) {
    std::map<std::string, std::string> found;
    if (fs::is_regular_file(path)) found[""] = read_all(path);
    if (!fs::is_directory(path)) return found;
    for (const auto& entry : fs::directory_iterator(path))
      found[entry.path().filename().string()] = read_all(entry.path().string());
    return found;
  }

  // Kills runs of a command that writes `out`, each with what the ones before it left, and lets every
  // third finish.
  void kill(const Arguments& command, const std::string& out, int times) {
    const auto start = std::chrono::steady_clock::now();
    ASSERT_EQ(run_dunlin(command).code, 0);
    const std::chrono::duration<double> whole_run = std::chrono::steady_clock::now() - start;
    const auto whole = files(out);
    fs::remove_all(out);

    std::mt19937 random(1);
    std::uniform_real_distribution<double> moment(0.001, whole_run.count());
    int killed = 0;
    for (int i = 0; i < times; ++i) {
      // --foreground: timeout outlives its signal and waits until the process, and its lock, are gone.
      Arguments words = {"--foreground", "-s", "KILL", std::to_string(moment(random)),
                         DUNLIN_BINARY};
      words.insert(words.end(), command.begin(), command.end());
      killed += run_program("/usr/bin/timeout", words).code == 128 + 9;
      if (fs::exists(out)) {
        EXPECT_TRUE(files(out) == whole) << i;
        fs::remove_all(out);
      }
      if (i % 3 != 2) continue;
      const ProcessResult finished = run_dunlin(command);
      ASSERT_EQ(finished.code, 0) << finished.err;
      EXPECT_TRUE(files(out) == whole) << i;
      EXPECT_FALSE(fs::exists(out + ".tmp"));
      EXPECT_FALSE(fs::exists(out + ".tmp.parts"));
      fs::remove_all(out);
    }
    EXPECT_GT(killed, times / 4);
  }

  void kill_all(int times) {
    kill({"convert", model_, gguf_, "-q"}, gguf_, times);
    kill({"quantize", model_, gguf_, "Q4_0", "-q"}, gguf_, times);
    ASSERT_EQ(run_dunlin({"convert", model_, gguf_, "-q"}).code, 0);
    kill({"convert", gguf_, folder_.file("back"), "--max-shard-size", "4MB", "-q"},
         folder_.file("back"), times);
  }

  TemporaryFolder folder_;
  std::string model_ = folder_.file("model");
  std::string gguf_ = folder_.file("out.gguf");
};

TEST_F(Kill, AtAFewMoments) {
  kill_all(6);
}

using SlowKill = Kill;
TEST_F(SlowKill, AtAHundredMoments) {
  kill_all(100);
}

}  // namespace
}  // namespace dunlin
