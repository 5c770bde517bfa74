// Times of a step from its costs.
#include "planner/roofline.h"

#include <gtest/gtest.h>

#include <memory>

#include "planned.h"

namespace dunlin {
namespace {

Device test_device() {
  Device device;
  device.name = "test";
  device.memory_bytes = 1 << 30;
  device.memory_bytes_per_second = 1e9;
  device.bf16_flops = 1e12;
  device.interconnect = {.link_bytes_per_second = 1e8,
                         .dimensions = 0,
                         .wrap = 0,
                         .most_devices = 8,
                         .network_bytes_per_second = 1e6,
                         .hop_seconds = 1e-6};
  return device;
}

struct Timed {
  Program program = dream_program({});
  PlannedModel model = planned(program);

  StepTime time(const MeshShape& shape, const StepShape& step, const Device& device) const {
    const ShardedModel split = sharded(model, shape);
    return step_time(walk(split, step), split, device, step.row_class);
  }
};

TEST(Roofline, FewRowsWaitForMemoryManyForArithmetic) {
  const Timed timed;
  const Device device = test_device();  // a thousand operations a byte
  const StepTime one = timed.time({}, {.sequences = 1}, device);
  EXPECT_EQ(one.bound, Bound::memory);
  EXPECT_DOUBLE_EQ(one.memory_seconds, (one.weight_bytes + one.kv_bytes) / 1e9);
  EXPECT_DOUBLE_EQ(one.best_seconds, one.memory_seconds);
  const StepTime many = timed.time({}, {.sequences = 1, .rows_each = 5000}, device);
  EXPECT_EQ(many.bound, Bound::compute);
  EXPECT_GE(many.best_seconds, many.compute_seconds);
  const StepTime slow_links = timed.time({.model = 2}, {.sequences = 500}, device);
  EXPECT_EQ(slow_links.bound, Bound::interconnect);
  EXPECT_DOUBLE_EQ(slow_links.best_seconds, slow_links.interconnect_seconds);
}

TEST(Roofline, ExpectedIsTheSumOfPartsAtTheirEfficiency) {
  const Timed timed;
  Device device = test_device();
  device.interconnect.hop_seconds = 0;
  const StepTime perfect = timed.time({.model = 2}, {.sequences = 1}, device);
  EXPECT_DOUBLE_EQ(perfect.expected_seconds, perfect.memory_seconds + perfect.interconnect_seconds);
  EXPECT_NEAR(timed.time({}, {.sequences = 1}, device).memory_utilisation(device), 1, 1e-12);
  device.efficiency = {.compute = 0.5, .memory = 0.8, .interconnect = 0.25, .origin = ""};
  const StepTime real = timed.time({.model = 2}, {.sequences = 1}, device);
  EXPECT_DOUBLE_EQ(real.expected_seconds,
                   perfect.memory_seconds / 0.8 + perfect.interconnect_seconds / 0.25);
  EXPECT_DOUBLE_EQ(real.best_seconds, perfect.best_seconds);
  EXPECT_NEAR(timed.time({}, {.sequences = 1}, device).memory_utilisation(device), 0.8, 1e-12);
  EXPECT_LT(timed.time({}, {.sequences = 1, .cached = 99}, device).weights_only_utilisation(device),
            0.8);
}

TEST(Roofline, CollectivesTakeTheirLatencyAtLeast) {
  const Interconnect wires = test_device().interconnect;
  const Collective small{CollectiveKind::all_reduce, 4, 10};
  EXPECT_DOUBLE_EQ(collective_seconds(small, wires), 2e-6);
  const Collective large{CollectiveKind::all_reduce, 4, 1e8};
  EXPECT_DOUBLE_EQ(collective_seconds(large, wires), 1);
  const Collective far{CollectiveKind::all_gather, 16, 1e6};
  EXPECT_DOUBLE_EQ(collective_seconds(far, wires), 1);
  EXPECT_DOUBLE_EQ(collective_seconds(large, wires, 0.5), 2);
  EXPECT_DOUBLE_EQ(collective_seconds(small, wires, 0.5), 2e-6);
}

TEST(Roofline, AStageIsTimedByTheSlowest) {
  const Timed timed;
  const Device device = test_device();
  const StepTime whole = timed.time({}, {.sequences = 1}, device);
  const StepTime two = timed.time({.stage = 2}, {.sequences = 1}, device);
  EXPECT_GE(two.best_seconds, whole.best_seconds * 0.99);
  EXPECT_LT(two.best_seconds, 2 * whole.best_seconds);
}

CpuRates test_rates() {
  CpuRates rates;
  rates.stream = {{1, 2e9}};
  rates.formats = {{"BF16", 0.5, 1e10, 2e10}};
  rates.kv_fraction = 0.25;
  rates.attention_flops = 1e15;
  rates.step_seconds = 1e-3;
  return rates;
}

Device processor(const CpuRates& rates) {
  Device device = test_device();
  device.cpu = std::make_shared<const CpuRates>(rates);
  return device;
}

TEST(Roofline, MeasuredRatesTakeThePlaceOfPeaks) {
  const Timed timed;
  const Device device = processor(test_rates());
  const StepTime one = timed.time({}, {.sequences = 1, .cached = 999}, device);
  // Seven matrices, attention and two norms a layer; the last norm and the head.
  const double steps = 1e-3 * (2 * 10 + 2);
  const double embedded = 2 * 64;
  EXPECT_NEAR(one.expected_seconds,
              steps + (one.weight_bytes - embedded) / 1e9 + one.kv_bytes / 0.5e9, 1e-9);
  EXPECT_DOUBLE_EQ(one.memory_seconds, (one.weight_bytes + one.kv_bytes) / 2e9);
  const StepShape prompt{.sequences = 1, .rows_each = 4000, .row_class = RowClass::prompt};
  const StepTime many = timed.time({}, prompt, device);
  EXPECT_GT(many.expected_seconds, 2 * 4000 * matrix_elements(timed.program, "layers") / 2e10);
}

// D 64, H 4, K 2, h 16, F 96, V 96, 2 layers.
TEST(Roofline, ElementsAndScoresTakeTheirTime) {
  const Timed timed;
  const StepShape prompt{
      .sequences = 2, .rows_each = 50, .cached = 10, .row_class = RowClass::prompt};
  const double rows = 100;
  const auto seconds = [&](const CpuRates& rates) {
    return timed.time({}, prompt, processor(rates)).expected_seconds;
  };
  CpuRates rates = test_rates();
  const double before = seconds(rates);
  rates.element_seconds = 1e-6;
  // In and out of q, k and v, o, gate and up, down, for each row; of the head for one.
  const double of_layer = (64 + 64) + 2 * (64 + 32) + (64 + 64) + 3 * (64 + 96);
  EXPECT_NEAR(seconds(rates) - before, 1e-6 * (2 * rows * of_layer + 64 + 96), 1e-9);
  rates = test_rates();
  rates.kv_fraction = 1e6;
  const double without = seconds(rates);
  rates.prompt_score_seconds = 1e-6;
  // Four heads of two layers; each row of this model sees all 60 positions.
  const double scores = 2 * 4 * rows * 60;
  EXPECT_NEAR(seconds(rates) - without, 1e-6 * scores, 1e-6);
  // Of single rows it comes on top of the reads, for one row of each sequence.
  rates = test_rates();
  rates.generated_score_seconds = 1e-6;
  EXPECT_NEAR(seconds(rates) - before, 1e-6 * scores / 50, 1e-9);
}

// Two models of as many multiplications, of which one is half as wide.
TEST(Roofline, NarrowMatricesMultiplySlower) {
  CpuRates rates = test_rates();
  rates.step_seconds = 1e-12;
  rates.element_seconds = 2e-9;
  const Device device = processor(rates);
  const StepShape prompt{.sequences = 1, .rows_each = 64, .row_class = RowClass::prompt};
  const auto rate_of = [&](const DreamSizes& sizes) {
    const Program program = dream_program(sizes);
    const PlannedModel model = planned(program);
    const ShardedModel whole = sharded(model, {});
    const StepTime time = step_time(walk(whole, prompt), whole, device, RowClass::prompt);
    return time.flops / time.expected_seconds;
  };
  const double wide = rate_of({.layers = 1, .width = 128, .heads = 8, .kv_heads = 8, .ffn = 512});
  const double narrow = rate_of({.layers = 4, .width = 64, .heads = 4, .kv_heads = 4, .ffn = 256});
  EXPECT_LT(narrow, 0.9 * wide);
  EXPECT_LT(wide, 2e10);
}

}  // namespace
}  // namespace dunlin
