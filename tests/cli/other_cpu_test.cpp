// Processor time of other processes, from what the system counts.
#include "cli/other_cpu.h"

#include <gtest/gtest.h>

#include "processor_time.h"

namespace dunlin {
namespace {

TEST(ProcStat, BusyIsAllButIdleAndWaiting) {
  // user nice system idle iowait irq softirq steal guest guest_nice
  const auto times = parse_proc_stat(
      "cpu  100 20 30 4000 500 6 7 8 90 10\n"
      "cpu0 50 10 15 2000 250 3 3 4 45 5\n"
      "cpu1 50 10 15 2000 250 3 4 4 45 5\n"
      "intr 1 2 3\nctxt 5\n",
      100);
  ASSERT_TRUE(times.has_value());
  EXPECT_DOUBLE_EQ(times->busy_seconds, 1.71);
  EXPECT_EQ(times->processors, 2);
  const auto old = parse_proc_stat("cpu 100 0 100 7\ncpu0 100 0 100 7\n", 100);
  ASSERT_TRUE(old.has_value());
  EXPECT_DOUBLE_EQ(old->busy_seconds, 2.0);
}

TEST(ProcStat, NothingWithoutTicks) {
  for (const char* text : {"", "cpu\n", "cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 0 0 0 0\n",
                           "cpu  5 5 5 5\n", "cpu x\ncpu0 y\n"}) {
    EXPECT_FALSE(parse_proc_stat(text, 100).has_value()) << text;
  }
}

TEST(OtherCpu, IsAFractionOfTheMachine) {
  const CpuTimes before{.busy_seconds = 10, .own_seconds = 2, .wall_seconds = 100, .processors = 4};
  CpuTimes after{.busy_seconds = 20, .own_seconds = 7, .wall_seconds = 105, .processors = 4};
  // Of 4 x 5 seconds 10 were busy, 5 of them ours.
  EXPECT_DOUBLE_EQ(other_cpu(before, after).value(), 0.25);
  after.own_seconds = 13;  // a tick late
  EXPECT_EQ(other_cpu(before, after).value(), 0.0);
  after.busy_seconds = 1000;
  EXPECT_EQ(other_cpu(before, after).value(), 1.0);
  EXPECT_FALSE(other_cpu(std::nullopt, after).has_value());
  EXPECT_FALSE(other_cpu(before, std::nullopt).has_value());
  EXPECT_FALSE(other_cpu(before, before).has_value());
}

TEST(CpuTimes, OwnTimeGrowsWithWork) {
  const auto before = cpu_times();
  ASSERT_EQ(before.has_value(), counts_processor_time());
  if (!before) return;
  EXPECT_GE(before->processors, 1);
  volatile double sum = 0;
  for (int i = 0; i < 30'000'000; ++i) sum = sum + 1.0 / (i + 1);
  const auto after = cpu_times();
  ASSERT_TRUE(after.has_value());
  EXPECT_GT(after->own_seconds, before->own_seconds);
  EXPECT_GE(after->busy_seconds, before->busy_seconds);
  EXPECT_GT(after->wall_seconds, before->wall_seconds);
}

}  // namespace
}  // namespace dunlin
