// Text out of the engine: pieces are complete UTF-8, and stop strings are found across tokens. The
// model is a tiny one next to a tokenizer trained by tools/make_tokenizer_goldens.py, whose first
// 160 ids are the model's vocabulary.
#include <gtest/gtest.h>

#include <filesystem>

#include "engine_driver.h"
#include "support/temporary_folder.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;

class EngineText : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    fs::copy(tiny_model_path("llama_plain"), folder_->path());
    fs::copy(fs::path(DUNLIN_SOURCE_DIR) / "tests/tokenizer/data/small_gpt2/tokenizer.json",
             folder_->path());
    driver_ = new EngineDriver(folder_->path(), {.threads = 1, .context = 128, .sequences = 2});
  }
  static void TearDownTestSuite() {
    delete driver_;
    delete folder_;
  }

  static Answer answer(const std::vector<std::string>& stop, uint64_t seed = 3) {
    Request request = sampled(random_prompt(8, 5), 60, seed);
    request.sampling.logit_bias = {{0, -1000.0f}};  // the special token gives no text
    request.stop = stop;
    return driver_->answer(request);
  }

  static std::string decode(const std::vector<int32_t>& ids) {
    return driver_->model().text.tokenizer->decode(ids, /*skip_special=*/true);
  }

  static TemporaryFolder* folder_;
  static EngineDriver* driver_;
};

TemporaryFolder* EngineText::folder_ = nullptr;
EngineDriver* EngineText::driver_ = nullptr;

TEST_F(EngineText, PiecesJoinToTheDecodedIds) {
  for (uint64_t seed = 0; seed < 6; ++seed) {
    const Answer all = answer({}, seed);
    EXPECT_EQ(all.ids.size(), 60u);
    EXPECT_EQ(all.text, decode(all.ids));
  }
}

// Every substring of the text, so that stops begin and end anywhere in a token and span several.
TEST_F(EngineText, AStopStringEndsTheAnswerBeforeIt) {
  const Answer all = answer({});
  const std::string text = all.text;
  int spanning = 0;
  for (size_t begin = 0; begin + 8 < text.size(); begin += 5) {
    for (const size_t length : {1, 2, 8}) {
      const std::string stop = text.substr(begin, length);
      const Answer stopped = answer({"no such text", stop});
      EXPECT_EQ(stopped.text, text.substr(0, text.find(stop))) << testing::PrintToString(stop);
      EXPECT_EQ(stopped.reason, FinishReason::stop);
      EXPECT_LE(stopped.ids.size(), all.ids.size());
      const std::vector<int32_t> last(stopped.ids.end() - 1, stopped.ids.end());
      spanning += decode(last).size() < length ? 1 : 0;
    }
  }
  EXPECT_GT(spanning, 10);  // stops that no single token holds
}

TEST_F(EngineText, WhatIsHeldBackComesAtTheEnd) {
  const Answer all = answer({});
  const std::string stop = all.text.substr(all.text.size() - 4) + "never";
  const Answer ended = answer({stop});
  EXPECT_EQ(ended.text, all.text);
  EXPECT_EQ(ended.ids, all.ids);
  EXPECT_EQ(ended.reason, FinishReason::length);
}

TEST_F(EngineText, EmptyStopStringsAreIgnored) {
  EXPECT_EQ(answer({""}).ids, answer({}).ids);
}

}  // namespace
}  // namespace dunlin
