// What a device holds, against sums by hand.
#include "planner/memory.h"

#include <gtest/gtest.h>

#include "planned.h"

namespace dunlin {
namespace {

TEST(Memory, WeightsAreSplitByTheTable) {
  const Program program = dream_program({});
  const PlannedModel model = planned(program);
  const DeviceMemory whole = accelerator_memory(sharded(model, {}), {});
  double elements = 0;
  for (const WeightDeclaration& weight : program.weights) {
    double product = 1;
    for (const AxisList& dim : weight.dims) product *= static_cast<double>(extent(dim));
    elements += product;
  }
  EXPECT_EQ(static_cast<double>(whole.weights), 2 * elements);
  EXPECT_EQ(accelerator_memory(sharded(model, {.data = 4}), {}).weights, whole.weights);
  const int64_t biases = 2 * (64 + 32 + 32) * 2;  // of q, k and v: no dimension of the width
  EXPECT_EQ(4 * (accelerator_memory(sharded(model, {.fsdp = 4}), {}).weights - biases),
            whole.weights - biases);
  const DeviceMemory split = accelerator_memory(sharded(model, {.model = 2}), {});
  EXPECT_LT(split.weights, whole.weights * 51 / 100);
  EXPECT_EQ(2 * split.kv, whole.kv);
}

TEST(Memory, CacheIsPagesOfEveryLayer) {
  const Program program = dream_program({});
  const PlannedModel model = planned(program);
  const Capacity capacity{.sequences = 3, .context = 100, .rows = 16};
  // 100 positions are 7 pages of 16; 2 layers, 2 heads of 16, keys and values in 16 bits.
  EXPECT_EQ(accelerator_memory(sharded(model, {}), capacity).kv, 3 * 112 * 2 * 2 * 16 * 2 * 2);
  // More devices than kv heads: copies.
  EXPECT_EQ(accelerator_memory(sharded(model, {.model = 4}), capacity).kv,
            accelerator_memory(sharded(model, {.model = 2}), capacity).kv);
}

TEST(Memory, WindowedLayersHoldTheirWindow) {
  const Program program = gpt_oss_program({.layers = 2, .window = 32});
  const PlannedModel model = planned(program);
  const auto kv = [&](int64_t context) {
    return accelerator_memory(sharded(model, {}), {.sequences = 1, .context = context, .rows = 16})
        .kv;
  };
  const int64_t position = 2 * 2 * 32 * 2;  // of a layer: keys and values, 2 heads of 32
  // One layer grows, the other stays at (32 + 16) / 16 + 1 pages.
  EXPECT_EQ(kv(4096), position * (4096 + 64));
  EXPECT_EQ(kv(8192), position * (8192 + 64));
}

TEST(Memory, StagesHoldTheirLayers) {
  const Program program = dream_program({.layers = 4});
  const PlannedModel model = planned(program);
  const DeviceMemory whole = accelerator_memory(sharded(model, {}), {});
  const DeviceMemory half = accelerator_memory(sharded(model, {.stage = 2}), {});
  EXPECT_EQ(2 * half.kv, whole.kv);
  EXPECT_LT(half.weights, whole.weights);
  EXPECT_GT(half.weights, whole.weights / 2);  // the embedding or the head is in one of them
}

TEST(Memory, LiveValuesFollowTheStep) {
  const Program program = dream_program({});
  const PlannedModel model = planned(program);
  const auto values = [&](int64_t sequences, int64_t rows) {
    return accelerator_memory(sharded(model, {}),
                              {.sequences = sequences, .context = 4096, .rows = rows})
        .activations;
  };
  // In the feed-forward: x, its norm's result gone, gate and up and one result: [T,64] + 2 [T,96]
  // at least, in 16 bits.
  EXPECT_GE(values(1, 1024), 1024 * (64 + 2 * 96) * 2);
  EXPECT_LE(values(1, 1024), 1024 * (4 * 64 + 3 * 96) * 2);
  // Logits are of 32 bits, a row for each sequence.
  EXPECT_GE(values(512, 1), 512 * 96 * 4);
}

TEST(LargestFitting, FindsTheBorder) {
  for (const int64_t border : {0, 1, 2, 3, 7, 8, 9, 1000, 4095, 4096}) {
    int calls = 0;
    const int64_t found = largest_fitting(4096, [&](int64_t value) {
      ++calls;
      return value <= border;
    });
    EXPECT_EQ(found, border);
    EXPECT_LT(calls, 30);
  }
  EXPECT_EQ(largest_fitting(10, [](int64_t) { return true; }), 10);
  EXPECT_EQ(largest_fitting(0, [](int64_t) { return true; }), 0);
}

}  // namespace
}  // namespace dunlin
