// How steps become launches, and what the step array holds.
#include "backend/pjrt/launch.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "program/ops.h"

namespace dunlin::pjrt {
namespace {

using testing::ElementsAre;

// One layer that keeps everything and one with a window.
Program two_groups() {
  auto program = record("two_groups", {}, [](Recorder& r) {
    for (const int64_t window : {0, 32}) {
      const auto place = r.kv_layer(window, 1, 2);
      const Tensor table =
          r.weights().matrix(fmt::format("w{}", window), {{Axis::vocab, 8}}, {{Axis::embed, 2}});
      const Tensor x = reshape(embed(r.tokens(), table), {Symbol::rows, 1, 2});
      AttentionAttributes attributes;
      attributes.window = window;
      attributes.group = place.group;
      attributes.layer = place.layer;
      r.output(fmt::format("y{}", window), attention(x, x, x, {}, attributes));
    }
  });
  EXPECT_TRUE(program.ok());
  return std::move(program).value();
}

constexpr StepLimits kLaunchLimits{.rows = 100, .logit_rows = 8, .sequences = 6, .context = 5000};

class Launches : public testing::Test {
 protected:
  Launches() : program_(two_groups()), planner_(program_, kLaunchLimits, /*row_wise=*/true) {
    for (int32_t group = 0; group < 2; ++group) {
      groups_.push_back({kLaunchLimits.sequences, planner_.pages_per_slot(group) * kPageTokens});
    }
  }

  // Adds a sequence with rows from `first` on to the plan.
  void add(int32_t slot, int32_t first, int32_t rows) {
    plan_.segments.push_back({1, rows, RowClass::prompt});
    plan_.tables.resize(2);
    for (int32_t i = 0; i < rows; ++i) {
      plan_.tokens.push_back(slot);
      plan_.positions.push_back(first + i);
    }
    for (size_t group = 0; group < 2; ++group) {
      KvTable& table = plan_.tables[group];
      if (table.first.empty()) table.first.push_back(0);
      const auto each = static_cast<int32_t>(groups_[group].positions) / kPageTokens;
      const int32_t pages = (first + rows + kPageTokens - 1) / kPageTokens;
      for (int32_t page = 0; page < pages; ++page) {
        table.pages.push_back(page < pages - each ? -1 : slot * each + page % each);
      }
      table.first.push_back(static_cast<int32_t>(table.pages.size()));
    }
    plan_.logit_rows.push_back(static_cast<int32_t>(plan_.tokens.size()) - 1);
  }

  std::vector<int32_t> field(const Launch& launch, StepLayout::Field StepLayout::* which) const {
    const StepLayout layout(launch.bucket);
    const std::vector<int32_t> array = planner_.step_array(plan_, launch);
    const StepLayout::Field f = layout.*which;
    return {array.begin() + f.offset, array.begin() + f.offset + f.count};
  }

  Program program_;
  LaunchPlanner planner_;
  std::vector<KvGroupShape> groups_;
  StepPlan plan_;
};

TEST_F(Launches, SlotsHaveThePagesThatAWindowAndAStepNeed) {
  EXPECT_EQ(planner_.pages_per_slot(0), 313);  // 5000 positions
  EXPECT_EQ(planner_.pages_per_slot(1), 10);   // 132 positions, one page more for the border
}

TEST_F(Launches, SingleRowsAreComputedTogetherInTheOrderOfSlots) {
  add(2, 40, 1);
  add(0, 7, 1);
  const auto launches = planner_.split(plan_, groups_);
  ASSERT_EQ(launches.size(), 1u);
  const Launch& launch = launches[0];
  EXPECT_EQ(launch.bucket.text(), "4x1 rows, 4 logit rows, 1024 positions");
  EXPECT_TRUE(launch.bucket.segments[0].slot_order);
  EXPECT_THAT(launch.rows, ElementsAre(1, -1, 0, -1));
  EXPECT_THAT(launch.logit_rows, ElementsAre(0, 1, -1, -1));
  EXPECT_THAT(field(launch, &StepLayout::positions), ElementsAre(7, 0, 40, 0));
  EXPECT_THAT(field(launch, &StepLayout::row_sequences), ElementsAre(0, -1, 2, -1));
  EXPECT_THAT(field(launch, &StepLayout::row_counts), ElementsAre(1, 0, 1, 0));
  EXPECT_THAT(field(launch, &StepLayout::lengths), ElementsAre(8, 0, 41, 0));
  EXPECT_THAT(field(launch, &StepLayout::logit_rows), ElementsAre(2, 0, 0, 0));
}

TEST_F(Launches, APromptIsALaunchOfItsOwn) {
  add(1, 3, 1);
  add(3, 10, 17);
  const auto launches = planner_.split(plan_, groups_);
  ASSERT_EQ(launches.size(), 2u);
  const Launch& prompt = launches[1];
  EXPECT_EQ(prompt.bucket.text(), "1x64 rows, 1 logit rows, 1024 positions");
  EXPECT_EQ(prompt.rows[0], 1);
  EXPECT_EQ(prompt.rows[16], 17);
  EXPECT_EQ(prompt.rows[17], -1);
  EXPECT_THAT(field(prompt, &StepLayout::slots), ElementsAre(3));
  EXPECT_THAT(field(prompt, &StepLayout::row_counts), ElementsAre(17));
  EXPECT_THAT(field(prompt, &StepLayout::logit_rows), ElementsAre(16));
}

TEST_F(Launches, LogitsThatNobodyAsksForAreThoseOfTheLastRow) {
  add(3, 10, 17);
  plan_.logit_rows.clear();
  const Launch launch = planner_.split(plan_, groups_)[0];
  EXPECT_THAT(launch.logit_rows, ElementsAre(-1));
  EXPECT_THAT(field(launch, &StepLayout::logit_rows), ElementsAre(16));
}

TEST_F(Launches, BucketsStayWithinTheLimits) {
  add(5, 4990, 1);
  add(4, 0, 90);
  const auto launches = planner_.split(plan_, groups_);
  EXPECT_EQ(launches[0].bucket.text(), "6x1 rows, 6 logit rows, 5008 positions");
  EXPECT_EQ(launches[1].bucket.text(), "1x100 rows, 1 logit rows, 1024 positions");
}

TEST_F(Launches, PagesOfAWindowLieInARing) {
  add(0, 200, 1);  // page 12 of ten places: place 2
  const Launch launch = planner_.split(plan_, groups_)[0];
  const StepLayout layout(launch.bucket);
  const std::vector<int32_t> array = planner_.step_array(plan_, launch);
  const auto first = array.begin() + layout.pages[1].offset;
  EXPECT_EQ(std::vector<int32_t>(first, first + 4), (std::vector<int32_t>{160, 176, 192, 48}));
}

TEST_F(Launches, RowsThatSkipPositionsAreNotConsecutive) {
  add(0, 5, 3);
  EXPECT_TRUE(planner_.split(plan_, groups_)[0].bucket.consecutive);
  plan_.positions[2] = 9;
  EXPECT_FALSE(planner_.split(plan_, groups_)[0].bucket.consecutive);
}

TEST_F(Launches, TheBucketsAreThoseThatStepsNeed) {
  const std::vector<Bucket> buckets = planner_.buckets(groups_);
  std::vector<std::string> names;
  for (const Bucket& bucket : buckets) names.push_back(bucket.text());
  EXPECT_EQ(names.size(), 3u * (4 + 3));  // of 1024, 4096 and 5008 positions
  EXPECT_THAT(names, testing::IsSupersetOf({"1x1 rows, 1 logit rows, 1024 positions",
                                            "6x1 rows, 6 logit rows, 5008 positions",
                                            "1x16 rows, 1 logit rows, 4096 positions",
                                            "1x100 rows, 1 logit rows, 1024 positions"}));
  // Sequences of one row and parts of prompts, anywhere in the context.
  std::set<Bucket> met;
  for (const int32_t length : {1, 2, 16, 17, 1024, 1025, 4096, 4097, 5000}) {
    for (int32_t slot = 0; slot < 6; ++slot) {
      for (const int32_t rows : {1, 2, 16, 17, 64, 65, 100}) {
        if (rows > length) continue;
        plan_ = {};
        add(slot, length - rows, rows);
        if (slot > 0) add(0, length - 1, 1);
        for (const Launch& launch : planner_.split(plan_, groups_)) met.insert(launch.bucket);
      }
    }
  }
  EXPECT_EQ(met, std::set<Bucket>(buckets.begin(), buckets.end()));
}

// Slots 0 and 2: logit rows are in the order of slots, too, and what the loop reads stands at the end.
TEST_F(Launches, ALoopIsALaunchOfTheBucketOfLoops) {
  const LaunchPlanner planner(program_, kLaunchLimits, /*row_wise=*/true, /*parts=*/1, /*steps=*/8);
  add(2, 1020, 1);
  add(0, 7, 1);
  plan_.steps = 5;
  plan_.row_steps = {5, 2};
  plan_.stop_ids.assign(size_t{2} * kStopIdsOfRow, -1);
  plan_.stop_ids[size_t{kStopIdsOfRow}] = 6;  // of slot 0
  const auto launches = planner.split(plan_, groups_);
  ASSERT_EQ(launches.size(), 1u);
  const Launch& launch = launches[0];
  // 1025 positions in the last step.
  EXPECT_EQ(launch.bucket.text(), "4x1 rows, 4 logit rows, 4096 positions, 8 steps");
  EXPECT_THAT(launch.rows, ElementsAre(1, -1, 0, -1));
  EXPECT_THAT(launch.logit_rows, ElementsAre(1, -1, 0, -1));
  EXPECT_THAT(field(launch, &StepLayout::lengths), ElementsAre(8, 0, 1021, 0));
  EXPECT_THAT(field(launch, &StepLayout::steps), ElementsAre(5));
  EXPECT_THAT(field(launch, &StepLayout::row_steps), ElementsAre(2, 0, 5, 0));
  EXPECT_EQ(field(launch, &StepLayout::stop_ids).front(), 6);
  EXPECT_THAT(field(launch, &StepLayout::logit_rows), ElementsAre(0, 0, 2, 0));
  plan_.steps = 4;
  plan_.row_steps = {4, 4};
  EXPECT_EQ(planner.split(plan_, groups_)[0].bucket.text(),
            "4x1 rows, 4 logit rows, 1024 positions, 8 steps");
}

// Without the layout's fields of loops, so that programs of single steps stay what they are.
TEST_F(Launches, ASingleStepHasNothingOfALoop) {
  add(0, 7, 1);
  const LaunchPlanner looping(program_, kLaunchLimits, /*row_wise=*/true, /*parts=*/1, /*steps=*/8);
  const Launch launch = looping.split(plan_, groups_)[0];
  EXPECT_EQ(launch.bucket, planner_.split(plan_, groups_)[0].bucket);
  EXPECT_EQ(StepLayout(launch.bucket).stop_ids.count, 0);
}

TEST_F(Launches, BesideEveryBucketOfTokensThereIsOneOfLoops) {
  const LaunchPlanner looping(program_, kLaunchLimits, /*row_wise=*/true, /*parts=*/1, /*steps=*/8);
  const std::vector<Bucket> buckets = looping.buckets(groups_);
  EXPECT_EQ(buckets.size(), 3u * (2 * 4 + 3));
  std::set<Bucket> all(buckets.begin(), buckets.end());
  for (Bucket bucket : planner_.buckets(groups_)) {
    EXPECT_TRUE(all.contains(bucket));
    bucket.steps = 8;
    EXPECT_EQ(all.contains(bucket), bucket.segments.front().slot_order) << bucket.text();
  }
}

TEST_F(Launches, BucketsThatNoStepCanNeedAreLeftOut) {
  const auto count = [this](const StepLimits& limits) {
    return LaunchPlanner(program_, limits, /*row_wise=*/true).buckets(groups_).size();
  };
  // One row at a time: no prompts.
  EXPECT_EQ(count({.rows = 1, .logit_rows = 1, .sequences = 1, .context = 96}), 1u);
  // A prompt of more than 1024 rows reads more than 1024 positions.
  EXPECT_EQ(count({.rows = 4096, .logit_rows = 1, .sequences = 1, .context = 4096}), 2u + (4 + 5));
}

// Slots 0, 2 and 4 are in the first part, 1, 3 and 5 in the second.
TEST_F(Launches, PartsOfTheBatchAreComputedInOneLaunch) {
  const LaunchPlanner planner(program_, kLaunchLimits, /*row_wise=*/true, /*parts=*/2);
  EXPECT_EQ(planner.slots_of_part(6), 3);
  EXPECT_EQ(planner.slots_of_part(7), 4);
  add(0, 7, 1);
  add(3, 40, 1);
  add(4, 9, 1);
  const auto launches = planner.split(plan_, groups_);
  ASSERT_EQ(launches.size(), 1u);
  const Launch& launch = launches[0];
  EXPECT_EQ(launch.bucket.text(), "3x1 rows, 3 logit rows, 1024 positions");
  EXPECT_THAT(launch.rows, ElementsAre(0, -1, 2, -1, 1, -1));
  EXPECT_THAT(launch.sequences, ElementsAre(0, -1, 2, -1, 1, -1));
  EXPECT_THAT(launch.logit_rows, ElementsAre(0, 2, -1, 1, -1, -1));
  const StepLayout layout(launch.bucket);
  const auto field = [&](const StepLayout::Field& f, int64_t part) {
    const std::vector<int32_t> array = planner.step_array(plan_, launch, part);
    return std::vector<int32_t>(array.begin() + f.offset, array.begin() + f.offset + f.count);
  };
  EXPECT_THAT(field(layout.positions, 0), ElementsAre(7, 0, 9));
  EXPECT_THAT(field(layout.positions, 1), ElementsAre(0, 40, 0));
  EXPECT_THAT(field(layout.row_sequences, 1), ElementsAre(-1, 1, -1));
  EXPECT_THAT(field(layout.slots, 0), ElementsAre(0, 1, 2));
  EXPECT_THAT(field(layout.logit_rows, 0), ElementsAre(0, 2, 0));
  EXPECT_THAT(field(layout.logit_rows, 1), ElementsAre(1, 0, 0));
}

// Three prompts of the first part, one of the second: beside each other as far as they go.
TEST_F(Launches, PromptsOfDifferentPartsRunSideBySide) {
  const LaunchPlanner planner(program_, kLaunchLimits, /*row_wise=*/true, /*parts=*/2);
  add(2, 0, 17);
  add(4, 5, 3);
  add(1, 1100, 4);
  add(0, 0, 2);
  const auto launches = planner.split(plan_, groups_);
  ASSERT_EQ(launches.size(), 3u);
  EXPECT_EQ(launches[0].bucket.text(), "1x64 rows, 1 logit rows, 4096 positions");
  EXPECT_THAT(launches[0].sequences, ElementsAre(0, 2));
  EXPECT_THAT(launches[1].sequences, ElementsAre(1, -1));
  EXPECT_THAT(launches[2].sequences, ElementsAre(3, -1));
  EXPECT_EQ(launches[0].rows[64], 20);  // the first row of the second part
  EXPECT_EQ(launches[0].rows[68], -1);
  EXPECT_THAT(launches[0].logit_rows, ElementsAre(0, 2));
  const StepLayout layout(launches[1].bucket);
  const std::vector<int32_t> padding = planner.step_array(plan_, launches[1], 1);
  EXPECT_EQ(padding[static_cast<size_t>(layout.row_counts.offset)], 0);
  EXPECT_EQ(padding[static_cast<size_t>(layout.lengths.offset)], 0);
}

TEST_F(Launches, BucketsOfPartsHaveFewerSequences) {
  const LaunchPlanner planner(program_, kLaunchLimits, /*row_wise=*/true, /*parts=*/2);
  for (const Bucket& bucket : planner.buckets(groups_)) EXPECT_LE(bucket.sequences(), 3);
}

TEST_F(Launches, AProgramThatMixesRowsGetsItsExactSizes) {
  const LaunchPlanner exact(program_, kLaunchLimits, /*row_wise=*/false);
  add(0, 5, 3);
  add(1, 5, 3);
  const auto launches = exact.split(plan_, groups_);
  ASSERT_EQ(launches.size(), 1u);
  EXPECT_EQ(launches[0].bucket.text(), "1x3+1x3 rows, 2 logit rows, 16 positions");
  EXPECT_EQ(launches[0].bucket.slots, 8);
}

}  // namespace
}  // namespace dunlin::pjrt
