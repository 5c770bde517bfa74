// What is printed of --offload.
#include "cli/offload_report.h"

#include <gtest/gtest.h>

#include <optional>

namespace dunlin {
namespace {

OffloadStatistics example() {
  return {.budget_bytes = 6'000'000'000,
          .pinned_bytes = 2'100'000'000,
          .streamed_bytes = 0,
          .expert_room_bytes = 3'900'000'000,
          .locked = true,
          .expert_uses = 800,
          .expert_hits = 700,
          .read_bytes = 52'800'000,
          .major_faults = 31};
}

TEST(OffloadText, HasALineForEachThing) {
  EXPECT_EQ(offload_text(std::nullopt), "");
  OffloadStatistics statistics = example();
  EXPECT_EQ(offload_text(statistics),
            "offload  budget of 6.00 GB, 2.10 GB stay in memory, 0.0 MB are read in every step\n"
            "experts  87.5 % of 800 were in memory, which holds 3.90 GB of them\n"
            "read     52.8 MB from storage, 31 page faults\n");
  statistics.expert_uses = 0;
  statistics.expert_hits = 0;
  statistics.locked = false;
  statistics.budget_bytes = UINT64_MAX;
  EXPECT_EQ(offload_text(statistics),
            "offload  budget without a limit, 2.10 GB stay in memory (not locked: the system "
            "refuses), 0.0 MB are read in every step\n"
            "read     52.8 MB from storage, 31 page faults\n");
}

TEST(OffloadJson, HasTheRate) {
  EXPECT_TRUE(offload_json(std::nullopt).is_null());
  OffloadStatistics statistics = example();
  EXPECT_EQ(offload_json(statistics)["expert_hit_rate"], 0.875);
  EXPECT_EQ(offload_json(statistics)["pinned_bytes"], 2'100'000'000u);
  statistics.expert_uses = 0;
  EXPECT_TRUE(offload_json(statistics)["expert_hit_rate"].is_null());
}

TEST(OffloadBetween, CountersAreDifferencesAndSizesAreNot) {
  const OffloadStatistics before = example();
  OffloadStatistics after = before;
  after.expert_uses += 10;
  after.expert_hits += 9;
  after.read_bytes += 5;
  after.major_faults += 2;
  after.pinned_bytes += 7;
  const auto between = offload_between(before, after);
  ASSERT_TRUE(between.has_value());
  EXPECT_EQ(between->expert_uses, 10);
  EXPECT_EQ(between->expert_hits, 9);
  EXPECT_EQ(between->read_bytes, 5u);
  EXPECT_EQ(between->major_faults, 2u);
  EXPECT_EQ(between->pinned_bytes, after.pinned_bytes);
  EXPECT_FALSE(offload_between(std::nullopt, after).has_value());
  EXPECT_FALSE(offload_between(before, std::nullopt).has_value());
}

}  // namespace
}  // namespace dunlin
