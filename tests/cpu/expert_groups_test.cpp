// Choices in the order of experts: every choice once, rows of an expert in their order, classes apart.
#include "backend/cpu/expert_groups.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <span>
#include <vector>

namespace dunlin::cpu {
namespace {

using testing::ElementsAre;

constexpr int64_t kExperts = 4;

// With memory for the tables.
struct Tables : ExpertGroups {
  Tables(int64_t per_row, int64_t most_rows, bool grouped)
      : ExpertGroups(kExperts, per_row, most_rows, grouped),
        memory((static_cast<size_t>(bytes()) + sizeof(int64_t) - 1) / sizeof(int64_t)) {}

  void read(const std::vector<int32_t>& chosen, const std::vector<RowRun>& runs, bool one_class) {
    ExpertGroups::read(std::as_writable_bytes(std::span(memory)).data(), chosen.data(), runs,
                       one_class);
  }

  std::vector<int64_t> memory;
};

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
  Tables groups(2, 8, true);
  groups.read(chosen, {{0, 3, RowClass::prompt}}, true);
  EXPECT_THAT(experts_of(groups), ElementsAre(0, 1, 3));
  expect_sound(groups, chosen, 2);
  EXPECT_EQ(groups.row_at(0), 1);
  EXPECT_EQ(groups.row_at(1), 2);
}

TEST(ExpertGroups, ClassesStayApartUnlessTheyComputeTheSame) {
  const std::vector<int32_t> chosen = {2, 2, 2};
  const std::vector<RowRun> runs = {{0, 1, RowClass::generated}, {1, 3, RowClass::prompt}};
  Tables groups(1, 8, true);
  groups.read(chosen, runs, false);
  EXPECT_THAT(experts_of(groups), ElementsAre(2, 2));
  EXPECT_EQ(groups.groups()[0].row_class, RowClass::generated);
  EXPECT_EQ(groups.groups()[1].rows, 2);
  expect_sound(groups, chosen, 1);
  groups.read(chosen, runs, true);
  EXPECT_THAT(experts_of(groups), ElementsAre(2));
  expect_sound(groups, chosen, 1);
}

TEST(ExpertGroups, UngroupedChoicesStayInOrder) {
  const std::vector<int32_t> chosen = {3, 0, 3, 1};
  Tables groups(2, 2, false);
  groups.read(chosen, {{0, 2, RowClass::prompt}}, true);
  EXPECT_THAT(experts_of(groups), ElementsAre(3, 0, 3, 1));
  expect_sound(groups, chosen, 2);
}

TEST(ExpertGroups, NumbersThatNoExpertHasAreTheNearest) {
  const std::vector<int32_t> chosen = {-7, 99};
  Tables groups(1, 2, true);
  groups.read(chosen, {{0, 2, RowClass::prompt}}, true);
  EXPECT_THAT(experts_of(groups), ElementsAre(0, 3));
  expect_sound(groups, chosen, 1);
}

// Every layer finds its own choices in memory that others used.
TEST(ExpertGroups, LayersShareTheirMemory) {
  const std::vector<int32_t> first = {3, 1, 1, 0, 3, 0};
  const std::vector<int32_t> second = {2, 0, 2, 2};
  Tables memory(2, 8, true);
  ExpertGroups groups[] = {{kExperts, 2, 8, true}, {kExperts, 2, 8, true}};
  const auto read = [&](ExpertGroups& layer, const std::vector<int32_t>& chosen) {
    const std::vector<RowRun> runs = {
        {0, static_cast<int64_t>(chosen.size()) / 2, RowClass::prompt}};
    layer.read(std::as_writable_bytes(std::span(memory.memory)).data(), chosen.data(), runs, true);
    expect_sound(layer, chosen, 2);
  };
  for (int step = 0; step < 2; ++step) {
    read(groups[0], first);
    read(groups[1], second);
    EXPECT_THAT(experts_of(groups[1]), ElementsAre(0, 2));
  }
}

TEST(ExpertGroups, NoRowsAreNoGroups) {
  Tables groups(2, 4, true);
  groups.read({}, {}, true);
  EXPECT_TRUE(groups.groups().empty());
}

}  // namespace
}  // namespace dunlin::cpu
