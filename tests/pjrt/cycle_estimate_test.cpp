// What is made of the cycles that a compiler wrote to operations.
#include "backend/pjrt/client/cycle_estimate.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace dunlin::pjrt {
namespace {

HloOperation costly(int64_t computation, const std::string& source, int64_t cycles) {
  HloOperation operation;
  operation.opcode = "fusion";
  operation.name = "fusion.7";
  operation.source = source;
  operation.computation_id = computation;
  operation.estimated_cycles = cycles;
  return operation;
}

HloOperation loop_over(int64_t computation, std::vector<int64_t> calls, int64_t turns) {
  HloOperation operation;
  operation.opcode = "while";
  operation.name = "while.3";
  operation.computation_id = computation;
  operation.calls = std::move(calls);
  operation.turns = turns;
  return operation;
}

TEST(CycleEstimate, AddsLayersUp) {
  const auto estimate = estimate_cycles(
      {costly(1, "layers.0.mlp.gate", 100), costly(1, "layers.31.mlp.gate", 120),
       costly(1, "layers.0.mlp.down", 90), costly(1, "", 5), costly(1, "lm_head", 0)});
  ASSERT_TRUE(estimate.has_value());
  EXPECT_EQ(estimate->cycles, 315);
  EXPECT_EQ(estimate->open_loops, 0);
  ASSERT_EQ(estimate->parts.size(), 3u);
  const CyclePart& first = estimate->parts[0];
  EXPECT_EQ(first.name, "layers.*.mlp.gate");
  EXPECT_EQ(first.opcode, "fusion");
  EXPECT_EQ(first.operations, 2);
  EXPECT_EQ(first.cycles, 220);
  EXPECT_EQ(estimate->parts[1].name, "layers.*.mlp.down");
  EXPECT_EQ(estimate->parts[2].name, "fusion");  // from no line of the model
  EXPECT_EQ(estimate->parts[2].cycles, 5);
}

// Only whole words of a location are numbers of layers.
TEST(CycleEstimate, OtherDigitsAreNames) {
  const auto estimate =
      estimate_cycles({costly(1, "layers.3.norm1", 1), costly(1, "layers.4.norm2", 2)});
  ASSERT_TRUE(estimate.has_value());
  ASSERT_EQ(estimate->parts.size(), 2u);
  EXPECT_EQ(estimate->parts[0].name, "layers.*.norm2");
  EXPECT_EQ(estimate->parts[1].name, "layers.*.norm1");
}

TEST(CycleEstimate, OpcodesOfALineAreApart) {
  HloOperation sum = costly(1, "layers.0.attend.o", 40);
  sum.opcode = "all-reduce";
  const auto estimate = estimate_cycles({costly(1, "layers.0.attend.o", 40), sum});
  ASSERT_TRUE(estimate.has_value());
  ASSERT_EQ(estimate->parts.size(), 2u);
  EXPECT_EQ(estimate->parts[0].opcode, "all-reduce");  // of equals by name
  EXPECT_EQ(estimate->parts[1].opcode, "fusion");
}

// 1 runs 2 three times, which runs 3 four times.
TEST(CycleEstimate, LoopsCountTheirTurns) {
  const auto estimate =
      estimate_cycles({costly(1, "a", 1000), loop_over(1, {2, 9}, 3), costly(2, "b", 100),
                       loop_over(2, {3, 9}, 4), costly(3, "c", 10)});
  ASSERT_TRUE(estimate.has_value());
  EXPECT_EQ(estimate->cycles, 1000 + 3 * 100 + 12 * 10);
  EXPECT_EQ(estimate->open_loops, 0);
  EXPECT_EQ(estimate->parts[2].name, "c");
  EXPECT_EQ(estimate->parts[2].operations, 12);
}

// The second loop has nothing to count, and the third is known.
TEST(CycleEstimate, LoopsOfUnknownLengthCountOnce) {
  const auto estimate =
      estimate_cycles({loop_over(1, {2, 9}, 0), costly(2, "a", 100), loop_over(1, {4, 9}, 0),
                       loop_over(1, {3, 9}, 5), costly(3, "b", 1)});
  ASSERT_TRUE(estimate.has_value());
  EXPECT_EQ(estimate->cycles, 105);
  EXPECT_EQ(estimate->open_loops, 1);
}

// An open loop whose body calls what has the estimate.
TEST(CycleEstimate, WhatABodyCallsIsInTheLoop) {
  HloOperation call = costly(2, "", 0);
  call.calls = {3};
  const auto estimate = estimate_cycles({costly(3, "a", 7), call, loop_over(1, {2}, 0)});
  ASSERT_TRUE(estimate.has_value());
  EXPECT_EQ(estimate->cycles, 7);
  EXPECT_EQ(estimate->open_loops, 1);
}

TEST(CycleEstimate, ThereNeedNotBeOne) {
  EXPECT_FALSE(estimate_cycles({}).has_value());
  EXPECT_FALSE(estimate_cycles({costly(1, "a", 0), loop_over(1, {2}, 5)}).has_value());
}

// Whatever a plug-in writes.
TEST(CycleEstimate, NumbersThatMakeNoSenseEnd) {
  const int64_t most = std::numeric_limits<int64_t>::max();
  HloOperation own = costly(2, "a", most);
  own.calls = {2};
  const auto estimate =
      estimate_cycles({loop_over(1, {2}, most), own, costly(1, "b", most), costly(1, "b", most)});
  ASSERT_TRUE(estimate.has_value());
  EXPECT_GT(estimate->cycles, int64_t{1} << 62);
}

}  // namespace
}  // namespace dunlin::pjrt
