// What stays in memory for a budget.
#include "backend/cpu/residency_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace dunlin::cpu {
namespace {

// Eight layers of 10 bytes, then a head of 25.
std::vector<GroupSize> model() {
  std::vector<GroupSize> groups(8, GroupSize{.layer = true, .bytes = 10});
  groups.push_back({.layer = false, .bytes = 25});
  return groups;
}

// "P" for pinned, "s" for streamed.
std::string text(const ResidencyPlan& plan) {
  std::string letters;
  for (const bool pinned : plan.pinned) letters += pinned ? 'P' : 's';
  return letters;
}

TEST(ResidencyPlan, EverythingStaysWhereItFits) {
  const ResidencyPlan plan = plan_residency(model(), 400, 40, 505);
  EXPECT_EQ(text(plan), "PPPPPPPPP");
  EXPECT_EQ(plan.pinned_bytes, 105);
  EXPECT_EQ(plan.streamed_bytes, 0);
  EXPECT_EQ(plan.expert_room, 400);
  EXPECT_EQ(plan_residency(model(), 400, 40, 1'000'000).expert_room, 400);
}

TEST(ResidencyPlan, ExpertsGetWhatTheDenseWeightsLeave) {
  const ResidencyPlan plan = plan_residency(model(), 400, 40, 205);
  EXPECT_EQ(text(plan), "PPPPPPPPP");
  EXPECT_EQ(plan.expert_room, 100);
  EXPECT_EQ(plan_residency(model(), 400, 40, 145).expert_room, 40);
}

TEST(ResidencyPlan, LayersThatStayAreSpreadEvenly) {
  // 25 for the head, 20 for two layers on their way, 40 for four.
  const ResidencyPlan plan = plan_residency(model(), 0, 0, 85);
  EXPECT_EQ(text(plan), "sPsPsPsPP");
  EXPECT_EQ(plan.pinned_bytes, 65);
  EXPECT_EQ(plan.streamed_bytes, 40);
  EXPECT_EQ(plan.expert_room, 0);
  EXPECT_EQ(text(plan_residency(model(), 0, 0, 84)), "ssPssPsPP");
  EXPECT_EQ(text(plan_residency(model(), 0, 0, 45)), "ssssssssP");
}

TEST(ResidencyPlan, ATokensExpertsAlwaysHaveRoom) {
  const ResidencyPlan plan = plan_residency(model(), 400, 40, 85);
  EXPECT_EQ(text(plan), "ssssssssP");
  EXPECT_EQ(plan.expert_room, 40);
  // What is left over when no further layer fits goes to them as well.
  EXPECT_EQ(plan_residency(model(), 400, 40, 92).expert_room, 47);
  EXPECT_EQ(plan_residency(model(), 30, 40, 75).expert_room, 30);
}

TEST(ResidencyPlan, ABudgetThatIsTooSmallPinsNothing) {
  EXPECT_EQ(text(plan_residency(model(), 0, 0, 44)), "sssssssss");
  for (const int64_t budget : {int64_t{0}, int64_t{1}, int64_t{34}}) {
    const ResidencyPlan plan = plan_residency(model(), 400, 40, budget);
    EXPECT_EQ(text(plan), "sssssssss") << budget;
    EXPECT_EQ(plan.streamed_bytes, 105) << budget;
    EXPECT_EQ(plan.expert_room, 40) << budget;
  }
}

TEST(ResidencyPlan, NoBudgetIsExceededThatHasRoomForWhatATokenNeeds) {
  for (int64_t budget = 75; budget < 600; ++budget) {
    const ResidencyPlan plan = plan_residency(model(), 400, 40, budget);
    int64_t streaming = 0;
    if (plan.streamed_bytes > 0) streaming = plan.pinned.back() ? 20 : 35;
    EXPECT_LE(plan.pinned_bytes + streaming + plan.expert_room, budget) << budget;
    EXPECT_GE(plan.expert_room, 40) << budget;
  }
}

}  // namespace
}  // namespace dunlin::cpu
