// Which tokens are scored, by llama-perplexity's definitions, and the steps windows are cut into.
#include "eval/windows.h"

#include <gtest/gtest.h>

#include <map>

namespace dunlin {
namespace {

// Position in the text of every scored token.
std::vector<int64_t> scored_tokens(const WindowPlan& plan) {
  std::vector<int64_t> tokens;
  for (int64_t i = 0; i < plan.count; ++i) {
    for (int64_t t = plan.first_scored; t < plan.window; ++t) tokens.push_back(plan.begin(i) + t);
  }
  return tokens;
}

TEST(Windows, LieSideBySideAndScoreTheirSecondHalf) {
  // llama-perplexity -c 512: n_ctx - n_ctx / 2 - 1 = 255 predictions a chunk, the first for token
  // 257 of the chunk.
  const WindowPlan plan = plan_windows(119400, {}).value();
  EXPECT_EQ(plan.count, 233);
  EXPECT_EQ(plan.stride, 512);
  EXPECT_EQ(plan.first_scored, 257);
  EXPECT_EQ(plan.scored(), 255);
  EXPECT_EQ(plan.rows(), 511);
  EXPECT_EQ(plan.begin(2), 1024);
}

TEST(Windows, OfOddSizeAndOfTheSmallest) {
  EXPECT_EQ(scored_tokens(plan_windows(14, {.window = 7, .stride = 7}).value()),
            (std::vector<int64_t>{4, 5, 6, 11, 12, 13}));
  EXPECT_EQ(scored_tokens(plan_windows(8, {.window = 3, .stride = 3}).value()),
            (std::vector<int64_t>{2, 5}));
}

TEST(Windows, ThatSlideScoreEveryTokenOnce) {
  const WindowPlan plan = plan_windows(20, {.window = 8, .stride = 3}).value();
  EXPECT_EQ(plan.count, 5);
  EXPECT_EQ(plan.first_scored, 5);
  std::vector<int64_t> wanted;
  for (int64_t t = 5; t < 20; ++t) wanted.push_back(t);
  EXPECT_EQ(scored_tokens(plan), wanted);
  // What does not fill a window is left out.
  EXPECT_EQ(plan_windows(22, {.window = 8, .stride = 3}).value().count, 5);
  EXPECT_EQ(plan_windows(23, {.window = 8, .stride = 3}).value().count, 6);
}

TEST(Windows, MayBeLimited) {
  EXPECT_EQ(plan_windows(5120, {.most = 3}).value().count, 3);
  EXPECT_EQ(plan_windows(5120, {.most = 300}).value().count, 10);
}

TEST(Windows, ThatMakeNoSenseAreUsageErrors) {
  const std::vector<std::tuple<int64_t, WindowOptions, std::string>> wrong = {
      {511, {}, "511 tokens, fewer than one window of 512"},
      {0, {}, "0 tokens"},
      {99, {.window = 2, .stride = 2}, "a window of 2"},
      {99, {.window = 8, .stride = 9}, "stride of 9 is outside 1..8"},
      {99, {.window = 8, .stride = 0}, "stride of 0"},
      {99, {.window = 8, .stride = 8, .most = 0}, "no window"},
  };
  for (const auto& [tokens, options, message] : wrong) {
    const auto plan = plan_windows(tokens, options);
    ASSERT_FALSE(plan.ok()) << message;
    EXPECT_EQ(plan.error().kind, ErrorKind::usage);
    EXPECT_NE(plan.error().message.find(message), std::string::npos) << plan.error().message;
  }
}

// Each window's rows in order, those that are scored with logits and no others, within the limits.
void expect_sound_steps(const WindowPlan& plan, int64_t windows, const StepLimits& limits) {
  std::map<int64_t, int64_t> next;  // row, by window
  int64_t scored = 0;
  for (const auto& step : plan_window_steps(plan, windows, limits)) {
    ASSERT_FALSE(step.empty());
    int64_t rows = 0;
    int64_t logits = 0;
    std::map<int64_t, int> pieces;
    for (const WindowPiece& piece : step) {
      EXPECT_EQ(++pieces[piece.window], 1);
      EXPECT_EQ(piece.begin, next[piece.window]);
      EXPECT_LT(piece.begin, piece.end);
      for (int64_t row = piece.begin; row < piece.end; ++row)
        EXPECT_EQ(row >= piece.first_scored_row, row + 1 >= plan.first_scored);
      next[piece.window] = piece.end;
      rows += piece.rows();
      logits += piece.scored();
    }
    EXPECT_LE(rows, limits.rows);
    EXPECT_LE(logits, limits.logit_rows);
    scored += logits;
  }
  EXPECT_EQ(std::ssize(next), windows);
  for (const auto& [window, rows] : next) EXPECT_EQ(rows, plan.rows()) << window;
  EXPECT_EQ(scored, windows * plan.scored());
}

TEST(WindowSteps, CoverEveryRowOnceWithinTheLimits) {
  for (const int64_t stride : {1, 5, 16}) {
    const WindowPlan plan = plan_windows(200, {.window = 16, .stride = stride}).value();
    for (const int64_t windows : {1, 2, 5}) {
      for (const int64_t rows : {1, 4, 15, 16, 31, 200}) {
        for (const int64_t logits : {1, 3, 7, 8, 200}) {
          SCOPED_TRACE(testing::Message()
                       << stride << ' ' << windows << ' ' << rows << ' ' << logits);
          expect_sound_steps(plan, windows, {.rows = rows, .logit_rows = logits, .sequences = 5});
        }
      }
    }
  }
}

TEST(WindowSteps, AreFull) {
  const WindowPlan plan = plan_windows(4096, {}).value();
  const StepLimits limits{.rows = 2044, .logit_rows = 1020, .sequences = 4};
  EXPECT_EQ(plan_window_steps(plan, 4, limits).size(), 1u);
}

}  // namespace
}  // namespace dunlin
