// validate(): a sound plan passes, and each way to break it gives its own error.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/api.h"
#include "program/ops.h"

namespace dunlin {
namespace {

using testing::HasSubstr;

constexpr int64_t kValidPages = 6;

class CountedPages final : public KvState {
 public:
  int32_t groups() const override { return 1; }
  int64_t pages(int32_t) const override { return kValidPages; }
  uint64_t bytes() const override { return 0; }
};

// One layer of attention over a vocabulary of 50, one KV group.
Program small_program() {
  const auto forward = [](Recorder& r) {
    const Tensor table =
        r.weights().matrix("embed_tokens", {{Axis::vocab, 50}}, {{Axis::embed, 8}});
    const Tensor x = reshape(embed(r.tokens(), table), {Symbol::rows, 2, 4});
    r.kv_layer(0, 2, 4);
    r.output("result", attention(x, x, x, {}, {}));
  };
  auto program = record("small", {}, forward);
  EXPECT_TRUE(program.ok());
  return std::move(program).value();
}

// Two decodes at positions 17 and 3, and a prompt of 18 rows at 0.
StepPlan sound_plan() {
  StepPlan plan;
  plan.segments = {{2, 1, RowClass::generated}, {1, 18, RowClass::prompt}};
  plan.tokens.assign(20, 7);
  plan.positions = {17, 3};
  for (int32_t i = 0; i < 18; ++i) plan.positions.push_back(i);
  plan.logit_rows = {0, 1, 19};
  plan.tables = {{{0, 2, 3, 5}, {4, 0, 2, 5, 1}}};
  return plan;
}

std::string problem(const StepPlan& plan) {
  static const Program program = small_program();
  const StepLimits limits{.rows = 24, .logit_rows = 4, .sequences = 4, .context = 40};
  const auto result = validate(plan, program, limits, CountedPages());
  return result.ok() ? "" : result.error().message;
}

std::string problem_after(const std::function<void(StepPlan&)>& breakage) {
  StepPlan plan = sound_plan();
  breakage(plan);
  return problem(plan);
}

TEST(Validate, SoundPlanPasses) {
  EXPECT_EQ(problem(sound_plan()), "");
}

TEST(Validate, SoundPlanWithEverythingOptionalPasses) {
  EXPECT_EQ(problem_after([](StepPlan& plan) {
              plan.lengths = {18, 9, 40};
              plan.temperatures = {0.0f, 1.0f, 2.0f};
              plan.random = {0.0f, 0.5f, 0.9f};
              plan.moves = {{0, 5, 0}};
              plan.tables[0].pages[0] = -1;  // behind the rows: evicted
            }),
            "");
}

TEST(Validate, NoRows) {
  EXPECT_THAT(problem(StepPlan()), HasSubstr("no rows"));
}

TEST(Validate, MoreRowsThanTheLimit) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.tokens.assign(25, 7); }),
              HasSubstr("25 rows exceed the limit of 24"));
}

TEST(Validate, PositionsOfAnotherCount) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.positions.pop_back(); }),
              HasSubstr("19 positions for 20 tokens"));
}

TEST(Validate, TokenOutsideTheVocabulary) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.tokens[3] = 50; }),
              HasSubstr("token 50 of row 3 is outside the vocabulary of 50"));
}

TEST(Validate, NegativeToken) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.tokens[3] = -1; }), HasSubstr("token -1"));
}

TEST(Validate, PositionBeyondTheContext) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.positions[0] = 40; }),
              HasSubstr("position 40 of row 0 is outside the context of 40"));
}

TEST(Validate, NegativePosition) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.positions[0] = -1; }),
              HasSubstr("position -1"));
}

TEST(Validate, EmptySegment) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.segments[0].rows_each = 0; }),
              HasSubstr("segment 0 has 2 sequences of 0 rows"));
}

TEST(Validate, SegmentWithoutSequences) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.segments[1].sequences = -3; }),
              HasSubstr("segment 1 has -3 sequences"));
}

TEST(Validate, SegmentsWithMoreRowsThanTokens) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.segments[1].sequences = 2147483647; }),
              HasSubstr("more rows than the 20 tokens"));
}

TEST(Validate, SegmentsWithFewerRowsThanTokens) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.segments[1].rows_each = 17; }),
              HasSubstr("19 rows but there are 20 tokens"));
}

TEST(Validate, MoreSequencesThanTheLimit) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.segments = {{20, 1, RowClass::generated}}; }),
              HasSubstr("20 sequences exceed the limit of 4"));
}

TEST(Validate, MoreLogitRowsThanTheLimit) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.logit_rows.assign(5, 0); }),
              HasSubstr("5 logit rows exceed the limit of 4"));
}

TEST(Validate, LogitRowThatIsNoRow) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.logit_rows[1] = 20; }),
              HasSubstr("logit row 20 is not one of the 20 rows"));
}

TEST(Validate, NegativeLogitRow) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.logit_rows[1] = -1; }),
              HasSubstr("logit row -1"));
}

TEST(Validate, TemperaturesOfAnotherCount) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.temperatures = {1.0f}; }),
              HasSubstr("1 temperatures for 3 logit rows"));
}

TEST(Validate, RandomNumbersOfAnotherCount) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.random = {0.5f}; }),
              HasSubstr("1 random numbers for 3 logit rows"));
}

TEST(Validate, PositionsThatDoNotAscend) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.positions[4] = 1; }),
              HasSubstr("position 1 of row 4 does not follow 1"));
}

TEST(Validate, LengthsOfAnotherCount) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.lengths = {18}; }),
              HasSubstr("1 lengths for 3 sequences"));
}

TEST(Validate, LengthShorterThanTheRows) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.lengths = {18, 3, 18}; }),
              HasSubstr("length 3 of sequence 1"));
}

TEST(Validate, LengthBeyondTheContext) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.lengths = {18, 41, 18}; }),
              HasSubstr("length 41 of sequence 1"));
}

TEST(Validate, NoTableForAGroup) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.tables.clear(); }),
              HasSubstr("0 page tables for 1 KV groups"));
}

TEST(Validate, TableOfFewerSequences) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.tables[0].first = {0, 2, 5}; }),
              HasSubstr("does not list the pages of 3 sequences"));
}

TEST(Validate, TableThatDescends) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.tables[0].first = {0, 3, 2, 5}; }),
              HasSubstr("does not list the pages"));
}

TEST(Validate, TableThatEndsElsewhere) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.tables[0].first = {0, 2, 3, 6}; }),
              HasSubstr("does not list the pages"));
}

TEST(Validate, TableThatBeginsElsewhere) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.tables[0].first = {-1, 2, 3, 5}; }),
              HasSubstr("does not list the pages"));
}

TEST(Validate, PageThatTheStateDoesNotHave) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.tables[0].pages[1] = 6; }),
              HasSubstr("page 6 of KV group 0 is not one of 6"));
}

TEST(Validate, PageBelowMinusOne) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.tables[0].pages[1] = -2; }),
              HasSubstr("page -2"));
}

TEST(Validate, RowBeyondTheSequencesPages) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.positions[0] = 32; }),
              HasSubstr("position 32 of row 0 has no page"));
}

TEST(Validate, RowInAPageThatWasFreed) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.tables[0].pages[1] = -1; }),
              HasSubstr("position 17 of row 0 has no page"));
}

TEST(Validate, PageWrittenForTwoSequences) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.tables[0].pages[2] = 0; }),
              HasSubstr("page 0 of KV group 0 is written for two sequences"));
}

TEST(Validate, MoveInAGroupThatDoesNotExist) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.moves = {{1, 0, 1}}; }),
              HasSubstr("a page move names KV group 1"));
}

TEST(Validate, MoveFromAPageThatDoesNotExist) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.moves = {{0, 6, 1}}; }),
              HasSubstr("a page move from 6 to 1"));
}

TEST(Validate, MoveToAPageThatDoesNotExist) {
  EXPECT_THAT(problem_after([](StepPlan& plan) { plan.moves = {{0, 1, -1}}; }),
              HasSubstr("a page move from 1 to -1"));
}

// ---- loops

// Two sequences at positions 15 and 3, of which the first writes into its second page.
StepPlan sound_loop() {
  StepPlan plan;
  plan.segments = {{2, 1, RowClass::generated}};
  plan.tokens = {7, 7};
  plan.positions = {15, 3};
  plan.logit_rows = {0, 1};
  plan.tables = {{{0, 2, 3}, {4, 0, 2}}};
  plan.steps = 4;
  plan.row_steps = {3, 4};
  plan.stop_ids.assign(size_t{2} * kStopIdsOfRow, -1);
  return plan;
}

std::string problem_of_loop(const std::function<void(StepPlan&)>& breakage,
                            int64_t most_steps = 4) {
  StepPlan plan = sound_loop();
  breakage(plan);
  const StepLimits limits{.rows = 24, .logit_rows = 4, .sequences = 4, .context = 40};
  const auto result = validate(plan, small_program(), limits, CountedPages(), most_steps);
  return result.ok() ? "" : result.error().message;
}

TEST(Validate, SoundLoopPasses) {
  EXPECT_EQ(problem_of_loop([](StepPlan&) {}), "");
  EXPECT_EQ(problem_of_loop([](StepPlan& plan) {
              plan.row_steps.clear();
              plan.stop_ids.clear();
            }),
            "");
}

TEST(Validate, LoopOfMoreStepsThanTheExecutableHas) {
  EXPECT_THAT(problem_of_loop([](StepPlan&) {}, 3), HasSubstr("4 steps at once, where 1 to 3"));
  EXPECT_THAT(problem_of_loop([](StepPlan&) {}, 1), HasSubstr("4 steps at once"));
  EXPECT_THAT(problem_of_loop([](StepPlan& plan) { plan.steps = 0; }), HasSubstr("0 steps"));
}

TEST(Validate, LoopOfOtherThanSingleRowsWithTheirLogits) {
  EXPECT_THAT(problem_of_loop([](StepPlan& plan) {
                plan.segments = {{1, 2, RowClass::generated}};
                plan.positions = {3, 4};
                plan.tables = {{{0, 1}, {4}}};
              }),
              HasSubstr("a loop of 2 rows has 1 sequences"));
  EXPECT_THAT(problem_of_loop([](StepPlan& plan) { plan.logit_rows = {0}; }),
              HasSubstr("1 logit rows"));
  EXPECT_THAT(problem_of_loop([](StepPlan& plan) { plan.logit_rows = {1, 0}; }),
              HasSubstr("logit row 0 of a loop is row 1"));
  EXPECT_THAT(problem_of_loop([](StepPlan& plan) { plan.lengths = {16, 4}; }),
              HasSubstr("2 lengths"));
}

TEST(Validate, LoopWithStepsOrStopIdsOfOtherRows) {
  EXPECT_THAT(problem_of_loop([](StepPlan& plan) { plan.row_steps = {1}; }),
              HasSubstr("1 steps of rows for 2 rows"));
  EXPECT_THAT(problem_of_loop([](StepPlan& plan) { plan.row_steps = {5, 1}; }),
              HasSubstr("row 0 takes 5 of the 4 steps"));
  EXPECT_THAT(problem_of_loop([](StepPlan& plan) { plan.row_steps = {1, 0}; }),
              HasSubstr("row 1 takes 0 of the 4 steps"));
  EXPECT_THAT(problem_of_loop([](StepPlan& plan) { plan.stop_ids = {1}; }),
              HasSubstr("1 stop ids for 2 rows"));
  EXPECT_THAT(problem_of_loop([](StepPlan& plan) {
                plan.steps = 1;
                plan.row_steps = {1, 1};
              }),
              HasSubstr("without a loop"));
}

TEST(Validate, LoopThatLeavesItsPagesOrTheContext) {
  EXPECT_THAT(problem_of_loop([](StepPlan& plan) { plan.tables = {{{0, 1, 2}, {4, 2}}}; }),
              HasSubstr("position 16 of row 0 has no page"));
  EXPECT_THAT(problem_of_loop([](StepPlan& plan) { plan.positions = {15, 38}; }),
              HasSubstr("4 steps from position 38 of row 1 leave the context of 40"));
}

// A state of two slots with three pages each.
class PagesOfSlots final : public KvState {
 public:
  int32_t groups() const override { return 1; }
  int64_t pages(int32_t) const override { return kValidPages; }
  int64_t pages_per_slot(int32_t) const override { return 3; }
  uint64_t bytes() const override { return 0; }
};

std::string problem_in_slots(std::vector<int32_t> first, std::vector<int32_t> second) {
  StepPlan plan;
  plan.segments = {{2, 1, RowClass::generated}};
  plan.tokens = {7, 7};
  plan.positions = {17, 17};
  const auto pages = static_cast<int32_t>(first.size());
  first.insert(first.end(), second.begin(), second.end());
  plan.tables = {{{0, pages, static_cast<int32_t>(first.size())}, first}};
  const StepLimits limits{.rows = 24, .logit_rows = 4, .sequences = 4, .context = 80};
  const auto result = validate(plan, small_program(), limits, PagesOfSlots());
  return result.ok() ? "" : result.error().message;
}

TEST(Validate, TablesOfSlotsNameTheSlotsPagesInARing) {
  EXPECT_EQ(problem_in_slots({0, 1}, {3, 4}), "");
  EXPECT_EQ(problem_in_slots({3, 4, 5}, {-1, 1}), "");
  EXPECT_THAT(problem_in_slots({1, 0}, {3, 4}), HasSubstr("not in slot 0"));
  EXPECT_THAT(problem_in_slots({0, 4}, {3, 1}), HasSubstr("not in slot"));
  EXPECT_THAT(problem_in_slots({0, 1}, {0, 4}), HasSubstr("not in slot 0"));
}

}  // namespace
}  // namespace dunlin
