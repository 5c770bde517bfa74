// Choices in the order of experts: every choice once, rows of an expert in their order, classes apart.
#include "backend/cpu/expert_groups.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

namespace dunlin::cpu {
namespace {

using testing::ElementsAre;

constexpr int64_t kExperts = 4;

std::vector<int64_t> experts_of(const ExpertGroups& groups) {
  std::vector<int64_t> experts;
  for (const ExpertGroup& group : groups.groups()) experts.push_back(group.expert);
  return experts;
}

// What place_of() and row_at() say must agree, and every place be taken once.
void expect_sound(const ExpertGroups& groups, const std::vector<int32_t>& chosen, int64_t per_row) {
  std::set<int64_t> places;
  for (size_t i = 0; i < chosen.size(); ++i) {
    const auto choice = static_cast<int64_t>(i);
    const int64_t place = groups.place_of(choice / per_row, choice % per_row);
    EXPECT_TRUE(places.insert(place).second);
    EXPECT_EQ(groups.row_at(place), choice / per_row);
    const ExpertGroup& group = groups.groups()[static_cast<size_t>(groups.group_at(place))];
    EXPECT_GE(place, group.first);
    EXPECT_LT(place, group.first + group.rows);
    EXPECT_EQ(group.expert, std::clamp<int64_t>(chosen[i], 0, kExperts - 1));
  }
  EXPECT_EQ(*places.rbegin(), static_cast<int64_t>(chosen.size()) - 1);
}

TEST(ExpertGroups, RowsOfAnExpertComeTogether) {
  const std::vector<int32_t> chosen = {3, 1, 1, 0, 3, 0};
  ExpertGroups groups(kExperts, 2, 8, true);
  groups.read(chosen.data(), std::vector<RowRun>{{0, 3, RowClass::prompt}}, true);
  EXPECT_THAT(experts_of(groups), ElementsAre(0, 1, 3));
  expect_sound(groups, chosen, 2);
  EXPECT_EQ(groups.row_at(0), 1);
  EXPECT_EQ(groups.row_at(1), 2);
}

TEST(ExpertGroups, ClassesStayApartUnlessTheyComputeTheSame) {
  const std::vector<int32_t> chosen = {2, 2, 2};
  const std::vector<RowRun> runs = {{0, 1, RowClass::generated}, {1, 3, RowClass::prompt}};
  ExpertGroups groups(kExperts, 1, 8, true);
  groups.read(chosen.data(), runs, false);
  EXPECT_THAT(experts_of(groups), ElementsAre(2, 2));
  EXPECT_EQ(groups.groups()[0].row_class, RowClass::generated);
  EXPECT_EQ(groups.groups()[1].rows, 2);
  expect_sound(groups, chosen, 1);
  groups.read(chosen.data(), runs, true);
  EXPECT_THAT(experts_of(groups), ElementsAre(2));
  expect_sound(groups, chosen, 1);
}

TEST(ExpertGroups, UngroupedChoicesStayInOrder) {
  const std::vector<int32_t> chosen = {3, 0, 3, 1};
  ExpertGroups groups(kExperts, 2, 2, false);
  groups.read(chosen.data(), std::vector<RowRun>{{0, 2, RowClass::prompt}}, true);
  EXPECT_THAT(experts_of(groups), ElementsAre(3, 0, 3, 1));
  expect_sound(groups, chosen, 2);
}

TEST(ExpertGroups, NumbersThatNoExpertHasAreTheNearest) {
  const std::vector<int32_t> chosen = {-7, 99};
  ExpertGroups groups(kExperts, 1, 2, true);
  groups.read(chosen.data(), std::vector<RowRun>{{0, 2, RowClass::prompt}}, true);
  EXPECT_THAT(experts_of(groups), ElementsAre(0, 3));
  expect_sound(groups, chosen, 1);
}

TEST(ExpertGroups, NoRowsAreNoGroups) {
  ExpertGroups groups(kExperts, 2, 4, true);
  groups.read(nullptr, {}, true);
  EXPECT_TRUE(groups.groups().empty());
}

}  // namespace
}  // namespace dunlin::cpu
