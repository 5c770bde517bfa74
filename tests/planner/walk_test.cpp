// The walk against sums by hand.
#include "planner/walk.h"

#include <gtest/gtest.h>

#include <cmath>

#include "planned.h"

namespace dunlin {
namespace {

// D 64, H 4, K 2, h 16, F 96, V 96, 2 layers; full attention.
const DreamSizes kSizes{};

TEST(Walk, CountsTwoOperationsPerWeightAndRow) {
  const Program program = dream_program(kSizes);
  const PlannedModel model = planned(program);
  const StepShape step{.sequences = 3, .rows_each = 5, .logit_rows = 2, .cached = 10};
  const WalkSum sum = sum_of(walk(sharded(model, {}), step));
  const double layers = matrix_elements(program, "layers");
  const double head = matrix_elements(program, "lm_head");
  const double rows = 15;
  // Each of 4 x 16 query dimensions meets 15 visible keys twice.
  const double attention = 2 * 4 * rows * 64 * 15;
  EXPECT_DOUBLE_EQ(sum.flops, 2 * rows * layers + 2 * 2 * head + attention);
  EXPECT_DOUBLE_EQ(sum.weight_bytes, 2 * layers + 2 * head + 2 * rows * 64);
  // 2 layers, 3 sequences of 15 positions, keys and values of 2 heads of 16, in 16 bits.
  EXPECT_DOUBLE_EQ(sum.kv_bytes, 2 * 3 * 15 * 2 * 2 * 16 * 2);
  EXPECT_EQ(sum.collectives, 0);
}

TEST(Walk, TensorParallelismReducesTwiceALayer) {
  const Program program = dream_program(kSizes);
  const PlannedModel model = planned(program);
  const StepShape step{.sequences = 8, .rows_each = 1, .logit_rows = 8, .cached = 100};
  const WalkSum one = sum_of(walk(sharded(model, {}), step));
  const WalkSum four = sum_of(walk(sharded(model, {.model = 4}), step));
  // Embedding, and o and down of two layers: all-reduce of [8,64] in 16 bits.
  EXPECT_EQ(four.collectives, 5);
  EXPECT_DOUBLE_EQ(four.sent_bytes, 5 * 2 * (3.0 / 4) * 8 * 64 * 2);
  // kv = 2, group = 2: q, o and the ffn are split four ways, k and v two.
  const double kv = matrix_elements(program, "k_proj") + matrix_elements(program, "v_proj");
  const double others =
      matrix_elements(program, "layers") + matrix_elements(program, "lm_head") - kv;
  EXPECT_DOUBLE_EQ(four.weight_bytes, 2 * (others / 4 + kv / 2) + 2 * 8 * 64);
  EXPECT_DOUBLE_EQ(four.kv_bytes, one.kv_bytes / 2);
  EXPECT_LT(four.flops, one.flops / 2);
}

TEST(Walk, TwoDimensionalTensorParallelismReducesOverBothAxes) {
  const Program program = dream_program(kSizes);
  const PlannedModel model = planned(program);
  const StepShape step{.sequences = 8, .rows_each = 1, .logit_rows = 0, .cached = 100};
  const WalkSum sum = sum_of(walk(sharded(model, {.width = 2, .model = 2}), step));
  const double half = 2 * (1.0 / 2);  // all-reduce over two devices sends the array once
  const double rows = 8;
  const double bytes = 2;
  const double over_model = 5 * half * rows * (64 / 2) * bytes;
  // q, k, v, gate and up: outputs of (64 + 32 + 32 + 96 + 96) / 2 elements, twice.
  const double over_width = 2 * half * rows * (320 / 2) * bytes;
  const double norms = 4 * half * rows * 4;  // two a layer, a float32 each; the last has no rows
  EXPECT_DOUBLE_EQ(sum.sent_bytes, over_model + over_width + norms);
}

TEST(Walk, FsdpGathersEveryWeightWhateverTheRows) {
  const Program program = dream_program(kSizes);
  const PlannedModel model = planned(program);
  const ShardedModel split = sharded(model, {.fsdp = 4});
  const WalkSum few = sum_of(walk(split, {.sequences = 1, .rows_each = 1}));
  const WalkSum many = sum_of(walk(split, {.sequences = 64, .rows_each = 8}));
  EXPECT_DOUBLE_EQ(few.sent_bytes, many.sent_bytes);
  double elements = 0;
  for (const WeightDeclaration& weight : program.weights) {
    double product = 1;
    for (const AxisList& dim : weight.dims) product *= static_cast<double>(extent(dim));
    elements += product;
  }
  EXPECT_DOUBLE_EQ(few.sent_bytes, 2 * elements * 3 / 4);
  const WalkSum whole = sum_of(walk(sharded(model, {}), {.sequences = 1, .rows_each = 1}));
  EXPECT_DOUBLE_EQ(few.weight_bytes, whole.weight_bytes);
  EXPECT_EQ(4 * resting_bytes(split, 0), gathered_bytes(split, 0));
}

TEST(Walk, DataParallelismSendsNothing) {
  const Program program = dream_program(kSizes);
  const PlannedModel model = planned(program);
  EXPECT_EQ(sum_of(walk(sharded(model, {.data = 8}), {})).collectives, 0);
}

TEST(Walk, StagesSendTheirResultOnce) {
  const Program program = dream_program({.layers = 4});
  const PlannedModel model = planned(program);
  const StepShape step{.sequences = 3, .rows_each = 7};
  const WalkSum sum = sum_of(walk(sharded(model, {.stage = 4}), step));
  EXPECT_EQ(sum.collectives, 3);
  EXPECT_DOUBLE_EQ(sum.sent_bytes, 3 * 21 * 64 * 2);
}

TEST(Walk, BlockFormatsCountTheirScales) {
  const Program program = dream_program(kSizes);
  const double q8 = sum_of(walk(sharded(planned(program, "Q8_0"), {}), {})).weight_bytes;
  const double bf16 = sum_of(walk(sharded(planned(program), {}), {})).weight_bytes;
  const double embedded = 2 * 64;  // looked up, not multiplied: stays in 16 bits
  EXPECT_DOUBLE_EQ((q8 - embedded) / (bf16 - embedded), 34.0 / 64);
  const WalkSum int8 = sum_of(walk(sharded(planned(program, "int8", "int8"), {}), {.cached = 9}));
  // An element a byte and 16 bits for each output channel; for each position and head of the cache.
  EXPECT_DOUBLE_EQ(int8.kv_bytes, 2 * 10 * 2 * 2 * (16 + 2));
}

TEST(Walk, ExpertsReadWhatRowsChoose) {
  // 8 experts of 2 per row.
  const GptOssSizes sizes{.layers = 2, .experts = 8, .experts_per_token = 2};
  const Program program = gpt_oss_program(sizes);
  const PlannedModel model = planned(program);
  const double stacks = matrix_elements(program, "experts.gate_proj.weight") +
                        matrix_elements(program, "experts.up_proj.weight") +
                        matrix_elements(program, "experts.down_proj.weight");
  const auto expert_bytes = [&](int64_t rows) {
    double bytes = 0;
    const ShardedModel whole = sharded(model, {});
    for (const NodeCost& cost : walk(whole, {.sequences = rows, .rows_each = 1})) {
      if (program.nodes[static_cast<size_t>(cost.node)].op == Op::experts)
        bytes += cost.weight_bytes;
    }
    return bytes;
  };
  EXPECT_DOUBLE_EQ(expert_bytes(1), 2 * stacks * 2 / 8);
  EXPECT_NEAR(expert_bytes(4), 2 * stacks * (1 - std::pow(0.75, 4)), 1e-6);
  EXPECT_NEAR(expert_bytes(1000), 2 * stacks, 1);
}

TEST(Walk, ExpertParallelismSendsRowsAndBringsThemBack) {
  const GptOssSizes sizes{.layers = 2, .experts = 8, .experts_per_token = 2};
  const Program program = gpt_oss_program(sizes);
  const PlannedModel model = planned(program);
  const StepShape step{.sequences = 6, .rows_each = 1};
  double moved = 0;
  double flops = 0;
  double whole_flops = 0;
  const ShardedModel split = sharded(model, {.expert = 4});
  for (const NodeCost& cost : walk(split, step)) {
    if (program.nodes[static_cast<size_t>(cost.node)].op != Op::experts) continue;
    flops += cost.flops;
    for (const Collective& collective : cost.collectives) {
      EXPECT_EQ(collective.kind, CollectiveKind::all_to_all);
      EXPECT_EQ(collective.devices, 4);
      moved += collective.bytes;
    }
  }
  // Two layers, there and back: 6 rows x 2 experts of width 64, three quarters of which leave.
  EXPECT_DOUBLE_EQ(moved, 2 * 2 * (3.0 / 4) * 6 * 2 * 64 * 2);
  const ShardedModel whole = sharded(model, {});
  for (const NodeCost& cost : walk(whole, step)) {
    if (program.nodes[static_cast<size_t>(cost.node)].op == Op::experts) whole_flops += cost.flops;
  }
  EXPECT_DOUBLE_EQ(flops, whole_flops);  // 6 rows of this replica, or as many of others
}

TEST(Visible, CausalRowsSeeThemselvesAndWhatWasBefore) {
  const AttentionAttributes causal{};
  EXPECT_DOUBLE_EQ(visible_positions(causal, {.rows_each = 1, .cached = 99}), 100);
  EXPECT_DOUBLE_EQ(visible_positions(causal, {.rows_each = 4, .cached = 0}), 2.5);
  EXPECT_DOUBLE_EQ(read_positions(causal, {.rows_each = 4, .cached = 10}), 14);
}

TEST(Visible, AWindowLimitsWhatIsSeenAndRead) {
  const AttentionAttributes windowed{.window = 3};
  EXPECT_DOUBLE_EQ(visible_positions(windowed, {.rows_each = 1, .cached = 99}), 3);
  // 1, 2, 3, 3, 3 positions.
  EXPECT_DOUBLE_EQ(visible_positions(windowed, {.rows_each = 5, .cached = 0}), 12.0 / 5);
  EXPECT_DOUBLE_EQ(read_positions(windowed, {.rows_each = 1, .cached = 99}), 3);
  EXPECT_DOUBLE_EQ(read_positions(windowed, {.rows_each = 5, .cached = 99}), 7);
}

TEST(Visible, AFullMaskSeesAllAndWithoutStateNothingIsRead) {
  const AttentionAttributes full{.mask = MaskKind::full};
  EXPECT_DOUBLE_EQ(visible_positions(full, {.rows_each = 8, .cached = 4}), 12);
  const AttentionAttributes stateless{.stateful = false};
  EXPECT_DOUBLE_EQ(read_positions(stateless, {.rows_each = 8}), 0);
}

TEST(TouchedExperts, IsTheExpectedNumberOfDistinctOnes) {
  EXPECT_DOUBLE_EQ(touched_experts(32, 4, 1), 4);
  EXPECT_NEAR(touched_experts(32, 4, 8), 32 * (1 - std::pow(28.0 / 32, 8)), 1e-9);
  EXPECT_DOUBLE_EQ(touched_experts(32, 4, 0), 0);
}

}  // namespace
}  // namespace dunlin
