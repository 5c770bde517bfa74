// AutoregressiveDecoder: what is pending, when logits are wanted, and how an answer ends.
#include "decode/autoregressive.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <span>

namespace dunlin {
namespace {

// A row whose best token is `token`.
struct OneHot {
  explicit OneHot(int32_t token) : row(16, 0.0f), id(token), logit(1.0f) {
    row[static_cast<size_t>(token)] = 1.0f;
  }
  LogitsView view() const {
    return {.ids = std::span(&id, 1), .logits = std::span(&logit, 1), .row = row};
  }
  std::vector<float> row;
  int32_t id;
  float logit;
};

AutoregressiveParams greedy(int64_t max_tokens) {
  return {.sampling = {.temperature = 0.0f}, .max_tokens = max_tokens, .stop_ids = {9}};
}

TEST(AutoregressiveDecoder, PromptInChunksThenOneTokenAtATime) {
  AutoregressiveDecoder decoder({1, 2, 3, 4, 5}, greedy(2));
  decoder.resume(2);
  EXPECT_TRUE(decoder.prefilling());
  EXPECT_EQ(decoder.row_class(), RowClass::prompt);
  EXPECT_EQ(decoder.pending().size(), 3u);
  EXPECT_FALSE(decoder.wants_logits_after(2));
  EXPECT_TRUE(decoder.wants_logits_after(3));
  decoder.advance(2);
  EXPECT_TRUE(decoder.wants_logits_after(1));
  decoder.advance(1);
  EXPECT_FALSE(decoder.prefilling());
  EXPECT_EQ(*decoder.accept(OneHot(7).view()), 7);
  EXPECT_EQ(decoder.row_class(), RowClass::generated);
  EXPECT_EQ(decoder.length(), 5);
  ASSERT_EQ(decoder.pending().size(), 1u);
  EXPECT_EQ(decoder.pending()[0], 7);
  decoder.advance(1);
  EXPECT_EQ(*decoder.accept(OneHot(8).view()), 8);
  EXPECT_EQ(decoder.finished(), FinishReason::length);
  EXPECT_EQ(decoder.answer().size(), 2u);
}

TEST(AutoregressiveDecoder, StopTokenIsNotPartOfTheAnswer) {
  AutoregressiveDecoder decoder({1}, greedy(10));
  decoder.advance(1);
  EXPECT_EQ(*decoder.accept(OneHot(9).view()), 9);
  EXPECT_EQ(decoder.finished(), FinishReason::stop);
  EXPECT_TRUE(decoder.answer().empty());
  EXPECT_TRUE(decoder.pending().empty());
}

TEST(AutoregressiveDecoder, SaysWhatADeviceNeedsToChooseTokens) {
  AutoregressiveDecoder decoder({1, 2}, greedy(3));
  EXPECT_TRUE(decoder.takes_best());
  EXPECT_EQ(decoder.tokens_left(), 3);
  ASSERT_EQ(decoder.stop_ids().size(), 1u);
  EXPECT_EQ(decoder.stop_ids()[0], 9);
  decoder.advance(2);
  // What a loop gives of a row: its best id and nothing else.
  const int32_t id = 7;
  const LogitsView view{.ids = std::span(&id, 1)};
  EXPECT_EQ(*decoder.accept(view), 7);
  EXPECT_EQ(decoder.tokens_left(), 2);
  AutoregressiveParams custom = greedy(3);
  custom.custom_sampler = [](const SamplerInput&) -> std::optional<int32_t> { return 1; };
  EXPECT_FALSE(AutoregressiveDecoder({1}, custom).takes_best());
  AutoregressiveParams warm = greedy(3);
  warm.sampling.temperature = 0.5f;
  EXPECT_FALSE(AutoregressiveDecoder({1}, warm).takes_best());
}

TEST(AutoregressiveDecoder, SaysWhetherItReadsWholeRows) {
  EXPECT_FALSE(AutoregressiveDecoder({1}, greedy(3)).needs_whole_row(64));
  EXPECT_TRUE(AutoregressiveDecoder({1}, greedy(3)).needs_whole_row(0));
  AutoregressiveParams biased = greedy(3);
  biased.sampling.logit_bias = {{1, 2.0f}};
  EXPECT_TRUE(AutoregressiveDecoder({1}, biased).needs_whole_row(64));
  // It may look at all that there is.
  AutoregressiveParams custom = greedy(3);
  custom.custom_sampler = [](const SamplerInput&) -> std::optional<int32_t> { return 1; };
  EXPECT_TRUE(AutoregressiveDecoder({1}, custom).needs_whole_row(64));
}

TEST(AutoregressiveDecoder, NothingToGenerateIsFinishedAtOnce) {
  const AutoregressiveDecoder decoder({1}, greedy(0));
  EXPECT_EQ(decoder.finished(), FinishReason::length);
}

// What a restart has to compute again has the classes it had, the logits are wanted at its end only,
// and the answer goes on as if nothing had happened.
TEST(AutoregressiveDecoder, ARestartRepeatsTheRowsInTheirClasses) {
  AutoregressiveDecoder decoder({1, 2, 3, 4}, greedy(5));
  decoder.resume(2);
  decoder.advance(2);
  EXPECT_EQ(*decoder.accept(OneHot(7).view()), 7);
  decoder.advance(1);
  EXPECT_EQ(*decoder.accept(OneHot(8).view()), 8);
  // The first two tokens came from a session: one of them was generated there.
  const auto prompt = RowClass::prompt, generated = RowClass::generated;
  decoder.restart(std::vector{prompt, generated, prompt, prompt, generated});
  EXPECT_EQ(decoder.leading_prompt_rows().size(), 1u);
  std::vector<std::pair<size_t, RowClass>> runs;
  while (decoder.prefilling()) {
    runs.emplace_back(decoder.pending().size(), decoder.row_class());
    EXPECT_EQ(decoder.wants_logits_after(std::ssize(decoder.pending())), decoder.length() == 4);
    decoder.advance(std::ssize(decoder.pending()));
  }
  EXPECT_EQ(runs, (std::vector<std::pair<size_t, RowClass>>{
                      {1, prompt}, {1, generated}, {2, prompt}, {2, generated}}));
  EXPECT_EQ(*decoder.accept(OneHot(6).view()), 6);
  EXPECT_EQ(std::vector(decoder.answer().begin(), decoder.answer().end()),
            (std::vector<int32_t>{7, 8, 6}));
}

TEST(AutoregressiveDecoder, TheDrawDependsOnSeedAndPositionAlone) {
  OneHot flat(0);
  std::fill(flat.row.begin(), flat.row.end(), 0.0f);
  const LogitsView view{.row = flat.row};
  const auto draw = [&](uint64_t seed, int64_t computed) {
    AutoregressiveParams params{
        .sampling = {.temperature = 1.0f, .top_k = 0, .top_p = 1.0f, .min_p = 0.0f, .seed = seed},
        .max_tokens = 20};
    AutoregressiveDecoder decoder({1, 2, 3}, params);
    decoder.resume(computed);
    decoder.advance(3 - computed);
    std::vector<int32_t> tokens;
    while (!decoder.finished()) {
      tokens.push_back(*decoder.accept(view));
      if (!decoder.finished()) decoder.advance(1);
    }
    return tokens;
  };
  EXPECT_EQ(draw(5, 0), draw(5, 2));
  EXPECT_NE(draw(5, 0), draw(6, 0));
}

}  // namespace
}  // namespace dunlin
