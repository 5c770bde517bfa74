// Which experts are read, give way, and stay.
#include "backend/cpu/expert_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <span>
#include <vector>

namespace dunlin::cpu {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr int64_t kBytes = 10;  // of an expert

// Two layers of four experts.
ExpertCache cache_for(int64_t experts, int64_t changing = 0) {
  return ExpertCache({{4, kBytes}, {4, kBytes}}, experts * kBytes, changing * kBytes);
}

std::vector<int32_t> numbers(std::span<const ExpertId> ids) {
  std::vector<int32_t> list;
  for (const ExpertId& id : ids) list.push_back(10 * id.stack + id.expert);
  return list;
}

void choose(ExpertCache& cache, int32_t stack, const std::vector<int32_t>& chosen) {
  cache.choose(stack, chosen);
}

// choose() and leave().
void step(ExpertCache& cache, int32_t stack, const std::vector<int32_t>& chosen) {
  cache.choose(stack, chosen);
  cache.leave();
}

TEST(ExpertCache, ReadsWhatIsNotHeldOnce) {
  ExpertCache cache = cache_for(8);
  choose(cache, 1, {3, 0, 3, 0});
  EXPECT_THAT(numbers(cache.reads()), ElementsAre(10, 13));
  EXPECT_THAT(numbers(cache.drops()), IsEmpty());
  cache.leave();
  EXPECT_THAT(numbers(cache.drops()), IsEmpty());
  choose(cache, 1, {0, 1});
  EXPECT_THAT(numbers(cache.reads()), ElementsAre(11));
  choose(cache, 0, {1});
  EXPECT_THAT(numbers(cache.reads()), ElementsAre(1));
  EXPECT_EQ(cache.held_bytes(), 4 * kBytes);
  EXPECT_EQ(cache.uses(), 5);
  EXPECT_EQ(cache.hits(), 1);
}

TEST(ExpertCache, NumbersThatNoExpertHasAreTheNearest) {
  ExpertCache cache = cache_for(8);
  choose(cache, 0, {-5, 99});
  EXPECT_THAT(numbers(cache.reads()), ElementsAre(0, 3));
}

TEST(ExpertCache, TheLeastUsedGivesWayThenTheOldest) {
  ExpertCache cache = cache_for(3);
  step(cache, 0, {0});
  step(cache, 0, {0, 1});
  step(cache, 1, {2});
  step(cache, 0, {0});
  choose(cache, 1, {3});  // 1 and 12 were used once, 1 before 12
  EXPECT_THAT(numbers(cache.drops()), ElementsAre(1));
  EXPECT_FALSE(cache.held({0, 1}));
  cache.leave();
  choose(cache, 1, {0});
  EXPECT_THAT(numbers(cache.drops()), ElementsAre(12));
  EXPECT_TRUE(cache.held({0, 0}));
}

TEST(ExpertCache, WhatIsComputedWithDoesNotGiveWay) {
  ExpertCache cache = cache_for(2);
  step(cache, 0, {0});
  step(cache, 0, {0});
  choose(cache, 1, {1, 2});  // each is used less than 0
  EXPECT_THAT(numbers(cache.drops()), ElementsAre(0));
  EXPECT_THAT(numbers(cache.reads()), ElementsAre(11, 12));
}

TEST(ExpertCache, ALayerBeyondTheRoomIsHeldUntilItIsLeft) {
  ExpertCache cache = cache_for(2);
  choose(cache, 0, {3, 2, 1, 0});
  EXPECT_THAT(numbers(cache.reads()), ElementsAre(0, 1));
  EXPECT_EQ(cache.held_bytes(), 4 * kBytes);
  EXPECT_THAT(numbers(cache.drops()), IsEmpty());
  cache.leave();
  EXPECT_EQ(cache.drops().size(), 2u);
  EXPECT_EQ(cache.held_bytes(), 2 * kBytes);
  for (const ExpertId& id : cache.drops()) EXPECT_FALSE(cache.held(id));
}

TEST(ExpertCache, WithoutRoomNothingStays) {
  ExpertCache cache = cache_for(0);
  step(cache, 0, {1, 2});
  EXPECT_EQ(cache.drops().size(), 2u);
  EXPECT_EQ(cache.held_bytes(), 0);
  choose(cache, 0, {1, 2});
  EXPECT_THAT(numbers(cache.reads()), IsEmpty());
  EXPECT_EQ(cache.hits(), 0);
}

TEST(ExpertCache, TheHottestArePinnedAndStay) {
  ExpertCache cache = cache_for(3, 1);
  for (int i = 0; i < 8; ++i) step(cache, 0, {1});
  for (int i = 0; i < 6; ++i) step(cache, 1, {2});
  step(cache, 1, {0});
  cache.repin();
  EXPECT_THAT(numbers(cache.pins()), ElementsAre(1, 12));
  EXPECT_THAT(numbers(cache.unpins()), IsEmpty());
  EXPECT_EQ(cache.pinned_bytes(), 2 * kBytes);
  // Others become hotter, and still do not push them out.
  for (int i = 0; i < 20; ++i) {
    step(cache, 0, {2});
    step(cache, 0, {3});
  }
  EXPECT_TRUE(cache.held({0, 1}));
  EXPECT_TRUE(cache.held({1, 2}));
  EXPECT_EQ(cache.held_bytes(), 3 * kBytes);
  cache.repin();
  // 3 is held and the hottest; 2 is not held, and the other place is that of 1.
  EXPECT_THAT(numbers(cache.pins()), ElementsAre(3));
  EXPECT_THAT(numbers(cache.unpins()), ElementsAre(12));
  EXPECT_TRUE(cache.pinned({0, 1}));
  EXPECT_FALSE(cache.pinned({1, 2}));
}

TEST(ExpertCache, CountsAreForgotten) {
  ExpertCache cache = cache_for(8);
  for (int i = 0; i < 4; ++i) step(cache, 0, {1});
  cache.repin();  // 4, halved to 2
  step(cache, 0, {0});
  step(cache, 0, {0});
  step(cache, 0, {0});  // 3
  cache.repin();
  EXPECT_THAT(numbers(cache.pins()), ElementsAre(0));
  cache.repin();  // both 1
  EXPECT_THAT(numbers(cache.pins()), IsEmpty());
  cache.repin();  // both 0
  EXPECT_THAT(numbers(cache.unpins()), ElementsAre(0, 1));
  EXPECT_EQ(cache.pinned_bytes(), 0);
}

}  // namespace
}  // namespace dunlin::cpu
