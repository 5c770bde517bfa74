// What `bench optimizations` measures, and in which rows it is shown.
#include "cli/bench_optimizations.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

namespace dunlin {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Names = std::vector<std::string>;

const Ladder kLadder = {.steps = {{"compiled"}, {"gqa", "compiled"}, {"kv-cache"}, {"precision"}}};

std::vector<const LadderRow*> rows_of(const LadderPlan& plan, const std::string& group) {
  std::vector<const LadderRow*> rows;
  for (const LadderRow& row : plan.rows) {
    if (row.group == group) rows.push_back(&row);
  }
  return rows;
}

// What is disabled in a measured row.
Names off(const LadderPlan& plan, const LadderRow& row) {
  return plan.sets.at(row.set.value()).disabled;
}

TEST(LadderPlan, HasNoneEachAloneOneMoreAtATimeAllAndAllButOne) {
  const LadderPlan plan = plan_ladder(kLadder, {});
  EXPECT_THAT(plan.sets[LadderPlan::kAll].disabled, IsEmpty());
  EXPECT_THAT(plan.sets[LadderPlan::kBaseline].disabled,
              ElementsAre("compiled", "gqa", "kv-cache", "precision"));
  EXPECT_EQ(plan.rows.front().group, "baseline");
  EXPECT_EQ(plan.rows.front().set, LadderPlan::kBaseline);

  const auto alone = rows_of(plan, "alone");
  ASSERT_EQ(alone.size(), 4u);
  EXPECT_EQ(alone[0]->name, "+ compiled");
  EXPECT_THAT(off(plan, *alone[0]), ElementsAre("gqa", "kv-cache", "precision"));
  EXPECT_FALSE(alone[1]->set.has_value());
  EXPECT_EQ(alone[1]->rests_on, "compiled");
  EXPECT_THAT(off(plan, *alone[3]), ElementsAre("compiled", "gqa", "kv-cache"));
  EXPECT_EQ(alone[3]->without, LadderPlan::kBaseline);
  EXPECT_EQ(alone[3]->with, alone[3]->set);

  const auto cumulative = rows_of(plan, "cumulative");
  ASSERT_EQ(cumulative.size(), 4u);
  EXPECT_THAT(off(plan, *cumulative[1]), ElementsAre("kv-cache", "precision"));
  EXPECT_THAT(off(plan, *cumulative[2]), ElementsAre("precision"));
  EXPECT_EQ(cumulative[2]->without, cumulative[1]->set);
  EXPECT_EQ(cumulative[3]->set, LadderPlan::kAll);

  const auto one_out = rows_of(plan, "leave-one-out");
  ASSERT_EQ(one_out.size(), 4u);
  EXPECT_EQ(one_out[1]->name, "all - gqa");
  EXPECT_THAT(off(plan, *one_out[1]), ElementsAre("gqa"));
  EXPECT_EQ(one_out[1]->without, one_out[1]->set);
  EXPECT_EQ(one_out[1]->with, LadderPlan::kAll);
  ASSERT_EQ(rows_of(plan, "all").size(), 1u);
  EXPECT_EQ(rows_of(plan, "all")[0]->set, LadderPlan::kAll);
}

TEST(LadderPlan, MeasuresEachSetOnce) {
  const Names weights = {"BF16", "FP8"};
  const LadderPlan plan = plan_ladder(kLadder, weights);
  for (size_t i = 0; i < plan.sets.size(); ++i) {
    const auto count = std::ranges::count(plan.sets, plan.sets[i]);
    EXPECT_EQ(count, 1) << i;
  }
  // All but precision is the third step of the ladder, too.
  EXPECT_EQ(rows_of(plan, "leave-one-out")[3]->set, rows_of(plan, "cumulative")[2]->set);
  const auto rows = rows_of(plan, "weights");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[1]->name, "all, FP8");
  EXPECT_EQ(plan.sets.at(rows[1]->set.value()).weights, "FP8");
  EXPECT_THAT(off(plan, *rows[1]), IsEmpty());
  EXPECT_EQ(rows[1]->without, rows_of(plan, "leave-one-out")[3]->set);
}

TEST(LadderPrompt, IsTheSameEveryTimeAndInTheVocabulary) {
  const auto prompt = ladder_prompt(100, 7);
  EXPECT_EQ(prompt, ladder_prompt(100, 7));
  EXPECT_EQ(prompt.size(), 100u);
  EXPECT_THAT(prompt, testing::Each(testing::AllOf(testing::Ge(0), testing::Lt(7))));
  EXPECT_EQ(std::set(prompt.begin(), prompt.end()).size(), 7u);
}

TEST(CheckSameTokens, NamesTheSetAndTheToken) {
  const LadderPlan plan = plan_ladder(kLadder, Names{"BF16"});
  std::vector<LadderResult> results;
  for (const LadderSet& set : plan.sets) {
    // Other weights and another precision may give other tokens.
    const int32_t kind = set.in_float32() ? 1 : set.weights.empty() ? 2 : 3;
    results.push_back({.ids = {5, kind, 7}});
  }
  EXPECT_TRUE(check_same_tokens(plan, results).ok());
  const size_t without_gqa = rows_of(plan, "leave-one-out")[1]->set.value();
  results[without_gqa].ids[2] = 8;
  const auto differ = check_same_tokens(plan, results);
  ASSERT_FALSE(differ.ok());
  EXPECT_EQ(differ.error().kind, ErrorKind::verification);
  EXPECT_THAT(
      differ.error().message,
      HasSubstr("token 2 of the answer with --disable gqa is another than with everything"));
  results[without_gqa].ids.pop_back();
  EXPECT_FALSE(check_same_tokens(plan, results).ok());
}

}  // namespace
}  // namespace dunlin
