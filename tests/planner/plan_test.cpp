// The whole answer: choice of the mesh, comparison, and what would hold a model that does not fit.
#include "planner/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "planned.h"

namespace dunlin {
namespace {

using testing::Contains;
using testing::HasSubstr;

Device small_device(int64_t memory) {
  Device device;
  device.name = "small";
  device.memory_bytes = memory;
  device.memory_bytes_per_second = 1e9;
  device.bf16_flops = 1e12;
  device.interconnect = {.link_bytes_per_second = 1e10,
                         .dimensions = 0,
                         .wrap = 0,
                         .most_devices = 64,
                         .network_bytes_per_second = 1e9,
                         .hop_seconds = 1e-7};
  device.slices = {1, 2, 4, 8};
  return device;
}

// Wide enough that its matrices outweigh what is sent.
const DreamSizes kWide{.layers = 4,
                       .vocab = 1024,
                       .width = 512,
                       .heads = 8,
                       .kv_heads = 4,
                       .head_dim = 64,
                       .ffn = 2048};

struct Planning {
  Program program = dream_program(kWide);
  PlannedModel model = planned(program);
  Workload workload{.batch = 4, .context = 512, .prompt = 64, .chunk = 64, .max_context = 4096};

  Result<Plan> plan(int64_t memory, int64_t devices,
                    std::optional<MeshShape> mesh = std::nullopt) const {
    return make_plan(model, {{small_device(memory), devices}, {}}, mesh, workload);
  }
};

TEST(Plan, OneDeviceNeedsNoComparison) {
  const Planning planning;
  const Plan plan = planning.plan(int64_t{1} << 30, 1).value();
  EXPECT_EQ(plan.strategy, "single");
  EXPECT_TRUE(plan.chosen.fits);
  EXPECT_TRUE(plan.alternatives.empty());
  EXPECT_FALSE(plan.smallest_slice.has_value());
  EXPECT_GT(plan.chosen.tokens_per_second, 0);
  EXPECT_LE(plan.chosen.tokens_per_second, plan.chosen.best_tokens_per_second);
}

TEST(Plan, ChoosesTheFastestThatFits) {
  const Planning planning;
  const Plan plan = planning.plan(int64_t{1} << 30, 4).value();
  for (const MeshShape& shape : possible_meshes(planning.program, 4)) {
    const auto other = evaluate_mesh(planning.model, {plan.slice, {}}, shape, planning.workload);
    ASSERT_TRUE(other.ok());
    if (other->fits) {
      EXPECT_GE(plan.chosen.tokens_per_second, other->tokens_per_second * (1 - 1e-12));
    }
  }
  const Plan given = planning.plan(int64_t{1} << 30, 4, MeshShape{.data = 4}).value();
  EXPECT_EQ(given.strategy, "data");
  EXPECT_EQ(given.chosen.shape, (MeshShape{.data = 4}));
}

TEST(Plan, TheLargestBatchAndContextAreTheBorder) {
  const Planning planning;
  const int64_t memory = 60 << 20;
  const Plan plan = planning.plan(memory, 2).value();
  ASSERT_TRUE(plan.chosen.fits);
  const auto total = [&](int64_t batch, int64_t context) {
    Workload workload = planning.workload;
    workload.batch = batch;
    workload.context = context;
    return evaluate_mesh(planning.model, {plan.slice, {}}, plan.chosen.shape, workload)
        ->memory.total();
  };
  EXPECT_LE(total(plan.max_batch, 512), memory);
  EXPECT_GT(total(plan.max_batch + replicas(plan.chosen.shape), 512), memory);
  EXPECT_LE(total(4, plan.max_context), memory);
  EXPECT_TRUE(plan.max_context == 4096 || total(4, plan.max_context + 16) > memory);
  EXPECT_EQ(plan.max_batch, plan.max_batch_per_device * replicas(plan.chosen.shape));
}

TEST(Plan, WhatDoesNotFitSaysWhatWould) {
  const Planning planning;
  const int64_t memory = 16 << 20;
  const Plan plan = planning.plan(memory, 1).value();
  EXPECT_FALSE(plan.chosen.fits);
  EXPECT_EQ(plan.shortfall_bytes, plan.chosen.memory.total() - memory);
  EXPECT_EQ(plan.max_batch, 0);
  EXPECT_EQ(plan.max_context, 0);
  ASSERT_TRUE(plan.smallest_slice.has_value());
  EXPECT_TRUE(fits_slice(planning.model, *plan.smallest_slice, planning.workload));
  for (const int64_t fewer : small_device(memory).slices) {
    if (fewer >= plan.smallest_slice->devices) break;
    EXPECT_FALSE(fits_slice(planning.model, {small_device(memory), fewer}, planning.workload));
  }
  ASSERT_TRUE(plan.smallest_device.has_value());
  EXPECT_EQ(plan.smallest_device->name(), "v5e");  // one chip of 16 GB: the least memory
  const Plan tiny = planning.plan(1 << 10, 2).value();
  EXPECT_FALSE(tiny.smallest_slice.has_value());
}

TEST(Plan, ComparesEveryWayOfParallelism) {
  const Planning planning;
  const Plan plan = planning.plan(int64_t{1} << 30, 4).value();
  std::vector<std::string> names;
  double least = INFINITY;
  std::string cheapest;
  for (const Alternative& each : plan.alternatives) {
    names.push_back(each.strategy);
    if (each.cheapest) cheapest = each.strategy;
    if (each.evaluation && each.evaluation->fits)
      least = std::min(least, each.evaluation->decode.step.sent_bytes);
  }
  EXPECT_THAT(names, testing::ElementsAre("data", "tp1", "tp2", "fsdp", "expert", "pipeline"));
  EXPECT_EQ(cheapest, "data");
  EXPECT_EQ(least, 0);
  const Alternative& expert = plan.alternatives[4];
  EXPECT_FALSE(expert.evaluation.has_value());
  EXPECT_EQ(expert.why_not, "the model has no experts");
  // Where the weights do not fit a device, copies of them are out of the question.
  const Plan tight = planning.plan(16 << 20, 4).value();
  for (const Alternative& each : tight.alternatives) {
    if (each.strategy != "data") continue;
    EXPECT_FALSE(each.evaluation->fits);
    EXPECT_FALSE(each.cheapest);
  }
}

// FSDP sends the weights, tensor parallelism rows: T* = bytes of the weights / bytes of a row.
TEST(Plan, TheChoiceFlipsWhereTheAlgebraSays) {
  const Planning planning;
  const Plan plan = planning.plan(int64_t{1} << 30, 4).value();
  const auto flip = std::ranges::find_if(
      plan.flips, [](const Flip& each) { return each.from == "tp1" && each.to == "fsdp"; });
  ASSERT_NE(flip, plan.flips.end());
  double weights = 0;
  for (size_t i = 0; i < planning.program.weights.size(); ++i) {
    weights +=
        static_cast<double>(resting_bytes({planning.model, Mesh{}}, static_cast<WeightId>(i)));
  }
  // All-reduces of T x 512 in 16 bits: the embedding, and two in each of 4 layers.
  const double row = 9 * 2 * 512 * 2;
  EXPECT_NEAR(flip->rows, weights / row, 0.01 * flip->rows);
  for (const double rows : {0.9 * flip->rows, 1.1 * flip->rows}) {
    const auto sent = [&](const MeshShape& shape) {
      const ShardedModel split = sharded(planning.model, shape);
      const auto each = static_cast<int64_t>(rows / static_cast<double>(replicas(shape)));
      return sum_of(walk(split, {.sequences = each, .rows_each = 1, .logit_rows = each}))
          .sent_bytes;
    };
    EXPECT_EQ(sent({.fsdp = 4}) < sent({.model = 4}), rows > flip->rows);
  }
}

TEST(Plan, AMeshMustHaveTheSlicesDevices) {
  const Planning planning;
  const auto plan = planning.plan(int64_t{1} << 30, 4, MeshShape{.model = 2});
  ASSERT_FALSE(plan.ok());
  EXPECT_THAT(plan.error().message, HasSubstr("mesh model=2 has 2 devices, but small-4 has 4"));
}

TEST(Meshes, CoverEveryFactorisation) {
  const Program dense = dream_program(kWide);
  const auto meshes = possible_meshes(dense, 4);
  for (const MeshShape& shape :
       {MeshShape{.data = 4}, MeshShape{.model = 4}, MeshShape{.data = 2, .model = 2},
        MeshShape{.width = 2, .model = 2}, MeshShape{.stage = 4}}) {
    EXPECT_THAT(meshes, Contains(shape));
  }
  for (const MeshShape& shape : meshes) EXPECT_EQ(shape.devices(), 4);
  const auto experts = possible_meshes(gpt_oss_program({.experts = 4}), 4);
  EXPECT_THAT(experts, Contains(MeshShape{.expert = 4}));
  EXPECT_GT(experts.size(), meshes.size() / 2);
}

TEST(Meshes, HaveTheNameOfTheirStrategy) {
  EXPECT_EQ(strategy_name({}), "single");
  EXPECT_EQ(strategy_name({.model = 8}), "tp1");
  EXPECT_EQ(strategy_name({.width = 2, .model = 4}), "tp2");
  EXPECT_EQ(strategy_name({.data = 2, .model = 4}), "mixed");
  EXPECT_EQ(strategy_name({.stage = 4}), "pipeline");
}

TEST(FlipRows, IsWhereTwoLinesCross) {
  EXPECT_DOUBLE_EQ(flip_rows({0, 2}, {100, 0}).value(), 50);
  EXPECT_DOUBLE_EQ(flip_rows({10, 3}, {100, 1}).value(), 45);
  EXPECT_FALSE(flip_rows({0, 1}, {100, 2}).has_value());
  EXPECT_FALSE(flip_rows({100, 2}, {0, 1}).has_value());
}

TEST(Evaluate, MemoryOfABackEndTakesThePlaceOfOurs) {
  const Planning planning;
  const Machine machine{{small_device(1000), 1}, [](const Capacity& capacity) {
                          DeviceMemory memory;
                          memory.kv = 100 * capacity.sequences;
                          return Result<DeviceMemory>(memory);
                        }};
  const Plan plan = make_plan(planning.model, machine, std::nullopt, planning.workload).value();
  EXPECT_EQ(plan.chosen.memory.total(), 400);
  EXPECT_EQ(plan.max_batch, 10);
  const Machine failing{{small_device(1000), 1},
                        [](const Capacity&) { return Result<DeviceMemory>(runtime_error("no")); }};
  EXPECT_EQ(make_plan(planning.model, failing, std::nullopt, planning.workload).error().message,
            "no");
}

}  // namespace
}  // namespace dunlin
