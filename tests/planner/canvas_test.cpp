// Plans of models that fill in masks: a step computes whole canvases, or a block of them.
#include <gtest/gtest.h>

#include "checkpoint/checkpoint.h"
#include "models/registry.h"
#include "planned.h"
#include "planner/plan.h"

namespace dunlin {
namespace {

// Dream and DiffuCoder 7B: 28 layers of width 3584, a head of 152,064 rows.
Program dream_7b() {
  const std::string path = std::string(DUNLIN_SOURCE_DIR) + "/docs/planning/dream-7b.json";
  return record_model(read_model_config(path).value(), {.logits_view_k = 64}).value();
}

constexpr double kLayerWeights =
    28.0 * (3584.0 * (2 * 3584 + 2 * 512) + 3.0 * 3584 * 18944);  // matrices of all layers
constexpr double kHeadWeights = 3584.0 * 152064;

// A forward pass over `rows` of a canvas of `length` positions, with so many rows of logits.
double pass_flops(double rows, double logit_rows, double length) {
  return 2 * (rows * kLayerWeights + logit_rows * kHeadWeights) + 4 * 28 * 3584 * rows * length;
}

Machine one(const char* slice) {
  return {parse_slice(slice, false).value(), {}};
}

Workload canvases(int64_t batch, int64_t prompt, CanvasWorkload canvas) {
  return {
      .batch = batch, .context = 2048, .prompt = prompt, .max_context = 131072, .canvas = canvas};
}

TEST(PlanCanvases, HasThePublishedSize) {
  EXPECT_NEAR(kLayerWeights + 2 * kHeadWeights, 7.62e9, 0.01e9);
  const Program program = dream_7b();
  EXPECT_NEAR(matrix_elements(program, ""), kLayerWeights + 2 * kHeadWeights, 1e6);
}

struct PassCase {
  int64_t batch, prompt;
  CanvasWorkload canvas;
  double pass_flops;  // of a whole pass over the canvases of a step
  double step_flops;  // of a step, half of whose masks are left
};

TEST(PlanCanvases, AStepComputesAllPositionsOrABlock) {
  const Program program = dream_7b();
  const PlannedModel model = planned(program);
  const std::vector<PassCase> cases = {
      {1, 32, {.masks = 128, .steps = 128}, pass_flops(160, 128, 160), pass_flops(160, 64, 160)},
      {1, 64, {.masks = 64, .steps = 32}, pass_flops(128, 64, 128), pass_flops(128, 32, 128)},
      {4,
       32,
       {.masks = 128, .steps = 32},
       4 * pass_flops(160, 128, 160),
       4 * pass_flops(160, 64, 160)},
      {1,
       32,
       {.masks = 128, .steps = 32, .block = 32},
       pass_flops(160, 128, 160),
       pass_flops(32, 16, 160)},
      {1,
       32,
       {.masks = 128, .steps = 32, .block = 32, .suffix = true},
       pass_flops(160, 128, 160),
       pass_flops(80, 16, 160)},
  };
  for (const PassCase& each : cases) {
    const auto mesh =
        evaluate_mesh(model, one("h200"), {}, canvases(each.batch, each.prompt, each.canvas));
    ASSERT_TRUE(mesh.ok()) << mesh.error().message;
    EXPECT_NEAR(mesh->prefill.step.flops / each.pass_flops, 1, 1e-9);
    EXPECT_NEAR(mesh->decode.step.flops / each.step_flops, 1, 1e-9);
    // A step of 2048 rows takes all of them at once.
    EXPECT_EQ(mesh->prefill.steps, 1);
    const auto opening = static_cast<double>(each.canvas.blocks());
    const double seconds =
        opening * mesh->prefill.expected_seconds +
        (static_cast<double>(each.canvas.steps) - opening) * mesh->decode.expected_seconds;
    EXPECT_NEAR(
        mesh->tokens_per_second * seconds / static_cast<double>(each.batch * each.canvas.masks), 1,
        1e-9);
  }
}

// As `bench forward` computes them.
TEST(PlanCanvases, LogitsOfEveryRowCanBeAskedFor) {
  const Program program = dream_7b();
  const PlannedModel model = planned(program);
  Workload exact = canvases(2, 32, {.masks = 128, .steps = 128});
  exact.all_logits = true;
  const auto whole = evaluate_mesh(model, one("h200"), {}, exact);
  ASSERT_TRUE(whole.ok()) << whole.error().message;
  EXPECT_NEAR(whole->prefill.step.flops / (2 * pass_flops(160, 160, 160)), 1, 1e-9);
  EXPECT_NEAR(whole->decode.step.flops / (2 * pass_flops(160, 160, 160)), 1, 1e-9);
  Workload dual = canvases(1, 32, {.masks = 128, .steps = 32, .block = 32});
  dual.all_logits = true;
  const auto block = evaluate_mesh(model, one("h200"), {}, dual);
  ASSERT_TRUE(block.ok()) << block.error().message;
  EXPECT_NEAR(block->decode.step.flops / pass_flops(32, 32, 160), 1, 1e-9);
  // Memory for them, too: of 2048 rows of a step.
  EXPECT_EQ(capacity_for(exact, 2, 2048).logit_rows, 2048);
  EXPECT_EQ(capacity_for(canvases(2, 32, {.masks = 128, .steps = 128}), 2, 2048).logit_rows, 256);
  EXPECT_GT(whole->memory.activations,
            evaluate_mesh(model, one("h200"), {}, canvases(2, 32, {.masks = 128, .steps = 128}))
                ->memory.activations);
}

// 128 positions on two chips of v2: 184 TFLOP/s need 10 ms, and 2.8 TB/s read the weights in 5 ms.
TEST(PlanCanvases, RoofsOfOneForwardPass) {
  const Program program = dream_7b();
  const PlannedModel model = planned(program);
  const auto v2 =
      evaluate_mesh(model, one("v2-8"), {.model = 8}, canvases(1, 1, {.masks = 127, .steps = 127}));
  ASSERT_TRUE(v2.ok());
  // Seven query heads of a key head do not divide by two, so that each device has some padding.
  EXPECT_NEAR(v2->prefill.step.compute_seconds / (pass_flops(128, 127, 128) / 184e12), 1, 0.05);
  EXPECT_EQ(v2->prefill.step.bound, Bound::compute);
  // A block of 8 reads as many weights as one token does, and waits for them.
  const auto block = evaluate_mesh(model, one("h200"), {},
                                   canvases(1, 32, {.masks = 128, .steps = 128, .block = 8}));
  ASSERT_TRUE(block.ok());
  EXPECT_EQ(block->decode.step.bound, Bound::memory);
  EXPECT_NEAR(block->decode.step.weight_bytes, 2 * (kLayerWeights + kHeadWeights), 1e8);
}

TEST(PlanCanvases, MemoryIsThatOfTheLargestStep) {
  const Workload workload = canvases(4, 32, {.masks = 128, .steps = 128});
  const Capacity four = capacity_for(workload, 4, 2048);
  EXPECT_EQ(four.rows, 2048);  // one whole context at a time
  EXPECT_EQ(four.logit_rows, 4 * 128);
  EXPECT_EQ(four.limits().logit_rows, 4 * 128);
  Workload wide = workload;
  wide.chunk = 8192;
  EXPECT_EQ(capacity_for(wide, 4, 2048).rows, 8192);
  EXPECT_EQ(capacity_for(wide, 2, 2048).rows, 4096);
  // Without canvases as before: a chunk of a prompt and one row of logits for each sequence.
  Workload tokens = workload;
  tokens.canvas.reset();
  EXPECT_EQ(capacity_for(tokens, 4, 2048).rows, 512);
  EXPECT_EQ(capacity_for(tokens, 4, 2048).limits().logit_rows, 4);
}

TEST(PlanCanvases, TheWholeAnswerHoldsTogether) {
  const Program program = dream_7b();
  const PlannedModel model = planned(program);
  const Workload workload = canvases(1, 32, {.masks = 128, .steps = 32, .block = 32});
  const Plan plan = make_plan(model, one("h100"), std::nullopt, workload).value();
  EXPECT_TRUE(plan.chosen.fits);
  EXPECT_GT(plan.max_batch, 1);
  EXPECT_LE(plan.chosen.tokens_per_second, plan.chosen.best_tokens_per_second);
  Workload full = workload;
  full.batch = plan.max_batch;
  EXPECT_TRUE(make_plan(model, one("h100"), std::nullopt, full)->chosen.fits);
  full.batch = plan.max_batch + 1;
  EXPECT_FALSE(make_plan(model, one("h100"), std::nullopt, full)->chosen.fits);
}

}  // namespace
}  // namespace dunlin
