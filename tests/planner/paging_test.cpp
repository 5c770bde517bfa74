// What reading weights from disk adds to a step.
#include "planner/paging.h"

#include <gtest/gtest.h>

#include <memory>

#include "planned.h"
#include "planner/evaluate.h"

namespace dunlin {
namespace {

// 10 GB of dense weights of which 6 do not stay, and 8 GB of experts of which 2 may be held.
Residency example_residency() {
  Residency residency;
  residency.pinned_bytes = 4'000'000'000;
  residency.streamed_bytes = 6'000'000'000;
  residency.streaming_bytes = 500'000'000;
  residency.expert_bytes = 8'000'000'000;
  residency.expert_room_bytes = 2'000'000'000;
  return residency;
}

// A step that takes half a second where memory holds everything.
StepTime example_step(double expert_bytes) {
  StepTime step;
  step.memory_seconds = 0.4;
  step.best_seconds = 0.4;
  step.expected_seconds = 0.5;
  step.expert_bytes = expert_bytes;
  return step;
}

TEST(Paging, DenseWeightsAreReadWhileTheStepComputes) {
  StepTime step = example_step(0);
  add_paging({example_residency(), 2e9}, step);
  EXPECT_DOUBLE_EQ(step.disk_bytes, 6e9);
  EXPECT_DOUBLE_EQ(step.disk_seconds, 3);
  EXPECT_DOUBLE_EQ(step.best_seconds, 3);
  EXPECT_DOUBLE_EQ(step.expected_seconds, 3);
  EXPECT_EQ(step.bound, Bound::disk);
  EXPECT_STREQ(bound_name(step.bound), "disk");
  step = example_step(0);
  add_paging({example_residency(), 60e9}, step);  // faster than the step
  EXPECT_DOUBLE_EQ(step.best_seconds, 0.4);
  EXPECT_DOUBLE_EQ(step.expected_seconds, 0.5);
  EXPECT_EQ(step.bound, Bound::memory);
}

// At best the room holds all that a step chooses; evenly chosen, a quarter of it.
TEST(Paging, ChosenExpertsAreWaitedFor) {
  StepTime step = example_step(1e9);
  add_paging({example_residency(), 2e9}, step);
  EXPECT_DOUBLE_EQ(step.disk_bytes, 6e9);
  EXPECT_DOUBLE_EQ(step.best_seconds, 3);
  EXPECT_DOUBLE_EQ(step.expected_seconds, 3 + 0.75 * 1e9 / 2e9);
  step = example_step(5e9);  // more than there is room for
  add_paging({example_residency(), 2e9}, step);
  EXPECT_DOUBLE_EQ(step.disk_bytes, 9e9);
  EXPECT_DOUBLE_EQ(step.best_seconds, 4.5);
  EXPECT_DOUBLE_EQ(step.expected_seconds, 3 + 0.75 * 5e9 / 2e9);
}

TEST(Paging, WhatMemoryHoldsCostsNothing) {
  Residency residency = example_residency();
  residency.streamed_bytes = residency.streaming_bytes = 0;
  residency.expert_room_bytes = residency.expert_bytes;
  StepTime step = example_step(8e9);
  add_paging({residency, 2e9}, step);
  EXPECT_EQ(step.disk_bytes, 0);
  EXPECT_DOUBLE_EQ(step.best_seconds, 0.4);
  EXPECT_DOUBLE_EQ(step.expected_seconds, 0.5);
}

TEST(Paging, WithoutADisksSpeedOnlyBytesAreSaid) {
  StepTime step = example_step(5e9);
  add_paging({example_residency(), 0}, step);
  EXPECT_DOUBLE_EQ(step.disk_bytes, 9e9);
  EXPECT_EQ(step.disk_seconds, 0);
  EXPECT_DOUBLE_EQ(step.best_seconds, 0.4);
  EXPECT_DOUBLE_EQ(step.expected_seconds, 0.5);
  EXPECT_EQ(step.bound, Bound::memory);
}

TEST(Paging, IsPartOfAMachinesEvaluation) {
  const Program program = gpt_oss_program({});
  const PlannedModel model = planned(program);
  const Workload workload{.batch = 1, .context = 128, .prompt = 32, .chunk = 32};
  Device device;
  device.memory_bytes = int64_t{1} << 40;
  device.memory_bytes_per_second = 1e9;
  device.bf16_flops = 1e12;
  Machine machine{{device, 1}};
  const MeshEvaluation whole = evaluate_mesh(model, machine, {}, workload).value();
  EXPECT_FALSE(whole.paging.has_value());
  EXPECT_EQ(whole.decode.step.disk_bytes, 0);
  // The experts of the walk: a row chooses some of them, a prompt about all.
  EXPECT_GT(whole.decode.step.expert_bytes, 0);
  EXPECT_GT(whole.prefill.step.expert_bytes, whole.decode.step.expert_bytes);
  EXPECT_LT(whole.prefill.step.expert_bytes, whole.prefill.step.weight_bytes);
  machine.residency = [](const Capacity& capacity) -> Result<Residency> {
    EXPECT_EQ(capacity.context, 128);
    return example_residency();
  };
  machine.disk_bytes_per_second = 1e9;
  const MeshEvaluation paged = evaluate_mesh(model, machine, {}, workload).value();
  ASSERT_TRUE(paged.paging.has_value());
  EXPECT_DOUBLE_EQ(paged.decode.best_seconds, 6);
  EXPECT_DOUBLE_EQ(paged.best_tokens_per_second, 1.0 / 6);
  EXPECT_GT(paged.prefill.expected_seconds, whole.prefill.expected_seconds);
  machine.residency = [](const Capacity&) -> Result<Residency> {
    return usage_error("no residency");
  };
  EXPECT_FALSE(evaluate_mesh(model, machine, {}, workload).ok());
}

}  // namespace
}  // namespace dunlin
