// Published tables: Llama-3.1-70B on TPU v5e-16, a compiler's memory of the same model, and the
// shapes of GPT-OSS, whose tables docs/planning.md shows.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iostream>

#include "checkpoint/checkpoint.h"
#include "models/registry.h"
#include "planned.h"
#include "planner/plan.h"

namespace dunlin {
namespace {

Program program_of(const std::string& name) {
  const std::string path = std::string(DUNLIN_SOURCE_DIR) + "/docs/planning/" + name + ".json";
  return record_model(read_model_config(path).value(), {.logits_view_k = 64}).value();
}

PlannedModel int8_model(const Program& program, const char* kv) {
  WeightStorage storage(program.weights.size());
  EXPECT_TRUE(requantize(program, {.matrices = "int8", .vocabulary = "bf16"}, storage).ok());
  const Storage cache = parse_kv_storage(kv).value();
  return {program, storage, cache, cache};
}

// README of jax-llm-examples' llama3 (jax 0.6.0): tokens per second of one sequence, and "HBM BW
// util", which counts the weights alone and divides by all sixteen chips.
struct PublishedRow {
  int64_t tensor;  // devices of a replica; the others are data parallel
  int64_t batch;
  int64_t context;
  double tokens_per_second;
  double utilisation;
};
constexpr PublishedRow kRows[] = {
    {16, 8, 2048, 159, 0.8518},   {16, 8, 4096, 146, 0.7812},   {16, 8, 8192, 146, 0.7809},
    {16, 16, 2048, 135, 0.7187},  {16, 16, 4096, 129, 0.6872},  {16, 16, 8192, 123, 0.6568},
    {16, 32, 2048, 108, 0.5753},  {16, 32, 4096, 100, 0.5368},  {16, 32, 8192, 93.8, 0.5013},
    {16, 64, 2048, 68.7, 0.3672}, {16, 64, 4096, 62.7, 0.3348}, {16, 128, 2048, 39.3, 0.2097},
    {8, 8, 2048, 84.4, 0.4506},   {8, 8, 4096, 83.4, 0.4454},   {8, 8, 8192, 81.7, 0.4363},
    {8, 16, 2048, 80.2, 0.4286},  {8, 16, 4096, 79.5, 0.4247},  {8, 16, 8192, 76.9, 0.4109},
    {8, 32, 2048, 74.5, 0.3978},  {8, 32, 4096, 74, 0.3953},    {8, 32, 8192, 71.3, 0.3808},
    {8, 64, 2048, 58.4, 0.3120},  {8, 64, 4096, 58.1, 0.3105},  {8, 128, 2048, 50.2, 0.2680},
};

// The share of the stated context that the rows had filled: the fourth constant of
// tools/fit_efficiency.py.
constexpr double kFill = 0.25;

MeshEvaluation evaluate_row(const PlannedModel& model, const PublishedRow& row) {
  const Machine v5e16{parse_slice("v5e-16", false).value(), {}};
  const Workload workload{
      .batch = row.batch, .context = row.context, .fill = kFill, .max_context = 131072};
  return evaluate_mesh(model, v5e16, {.data = 16 / row.tensor, .model = row.tensor}, workload)
      .value();
}

TEST(Published70b, DecodeRowsAreWithinFifteenPercent) {
  const Program program = program_of("llama-3.1-70b");
  const PlannedModel model = int8_model(program, "int8");
  for (size_t i = 0; i < std::size(kRows); ++i) {
    const PublishedRow& row = kRows[i];
    const MeshEvaluation mesh = evaluate_row(model, row);
    const double planned = 1 / mesh.decode.expected_seconds;
    SCOPED_TRACE(testing::Message() << "TP" << row.tensor << " batch " << row.batch << " context "
                                    << row.context << ": planned " << planned);
    EXPECT_TRUE(mesh.fits);
    EXPECT_NEAR(planned / row.tokens_per_second, 1, 0.15);
    // Best is a bound: no published row is above it.
    EXPECT_LT(row.tokens_per_second, mesh.best_tokens_per_second / static_cast<double>(row.batch));
  }
}

// What the publication calls utilisation is ours for weights only, of a replica, over the replicas.
TEST(Published70b, UtilisationIsStatedWithAndWithoutTheCache) {
  const Program program = program_of("llama-3.1-70b");
  const PlannedModel model = int8_model(program, "int8");
  const Device v5e = parse_slice("v5e", false)->device;
  for (const PublishedRow& row : kRows) {
    const MeshEvaluation mesh = evaluate_row(model, row);
    const double weights = mesh.decode.step.weights_only_utilisation(v5e);
    const double both = mesh.decode.step.memory_utilisation(v5e);
    EXPECT_GT(both, weights);
    EXPECT_LE(both, 0.97);
    EXPECT_NEAR(weights * static_cast<double>(row.tensor) / 16 / row.utilisation, 1, 0.17)
        << row.tensor << " " << row.batch << " " << row.context;
  }
}

// XLA's own figure for the arguments of this decode step (libtpu 0.0.51, compiled ahead of time for
// v5e:4x4, 8 sequences of 2048, 16-bit cache split over all 16 devices): 4.966 GB.
TEST(Published70b, WeightsOfADeviceAreWhatACompilerAllocates) {
  const Program program = program_of("llama-3.1-70b");
  const PlannedModel model = int8_model(program, "bf16");
  const DeviceMemory memory = accelerator_memory(sharded(model, {.model = 16}),
                                                 {.sequences = 8, .context = 2048, .rows = 8});
  EXPECT_NEAR(static_cast<double>(memory.weights) + static_cast<double>(memory.kv) / 2, 4.966e9,
              0.005 * 4.966e9);
}

// The algebra of the same README: FSDP pays from a batch of the order of the model's width (8192).
TEST(Published70b, TheFlipIsOfTheOrderOfTheWidth) {
  const Program program = program_of("llama-3.1-70b");
  const PlannedModel model = int8_model(program, "int8");
  const Plan plan = make_plan(model, {parse_slice("v5e-16", false).value(), {}}, std::nullopt,
                              {.batch = 8, .context = 2048, .max_context = 131072})
                        .value();
  EXPECT_EQ(plan.strategy, "tp1");
  const auto flip = std::ranges::find_if(
      plan.flips, [](const Flip& each) { return each.from == "tp1" && each.to == "fsdp"; });
  ASSERT_NE(flip, plan.flips.end());
  EXPECT_GT(flip->rows, 8192.0 / 2);
  EXPECT_LT(flip->rows, 8192.0 * 2);
}

constexpr GptOssSizes kGptOss20b{.layers = 24,
                                 .vocab = 201088,
                                 .width = 2880,
                                 .heads = 64,
                                 .kv_heads = 8,
                                 .head_dim = 64,
                                 .ffn = 2880,
                                 .experts = 32,
                                 .experts_per_token = 4,
                                 .window = 128};
constexpr GptOssSizes gpt_oss_120b() {
  GptOssSizes sizes = kGptOss20b;
  sizes.layers = 36;
  sizes.experts = 128;
  return sizes;
}

double parameters(const Program& program) {
  double sum = 0;
  for (const WeightDeclaration& weight : program.weights) {
    double product = 1;
    for (const AxisList& dim : weight.dims) product *= static_cast<double>(extent(dim));
    sum += product;
  }
  return sum;
}

// Expert stacks in MXFP4 (32 elements in 17 bytes), everything else in 16 bits, as published.
PlannedModel mxfp4_model(const Program& program) {
  WeightStorage storage(program.weights.size());
  for (size_t i = 0; i < storage.size(); ++i) {
    if (program.weights[i].dims.size() == 3) storage[i] = {"MXFP4", 32, 17, 0};
  }
  return {program, storage, parse_kv_storage("bf16").value(), parse_kv_storage("bf16").value()};
}

// One line of the tables of docs/planning.md.
MeshEvaluation show(const char* model_name, const PlannedModel& model, const char* format,
                    const char* slice, int64_t batch) {
  const Workload workload{.batch = batch, .context = 4096, .max_context = 131072};
  const Plan plan =
      make_plan(model, {parse_slice(slice, false).value(), {}}, std::nullopt, workload).value();
  constexpr double kGiB = 1024.0 * 1024 * 1024;
  const auto gib = [](int64_t bytes) { return static_cast<double>(bytes) / kGiB; };
  std::cout << "| " << model_name << " | " << format << " | " << slice << " | "
            << to_string(plan.chosen.shape) << " | " << batch << " | "
            << gib(plan.chosen.memory.weights) << " | " << gib(plan.chosen.memory.total()) << " | "
            << (plan.chosen.fits ? "yes" : "no") << " | " << plan.max_batch << " | "
            << plan.chosen.tokens_per_second << " |\n";
  return plan.chosen;
}

TEST(GptOss, GptOss20bIsPlannedFromItsOperations) {
  const Program program = gpt_oss_program(kGptOss20b);
  EXPECT_NEAR(parameters(program), 20.91e9, 0.01e9);
  const PlannedModel bf16 = planned(program);
  const PlannedModel fp8 = planned(program, "fp8");
  const PlannedModel mxfp4 = mxfp4_model(program);
  // "TPU v2-8: ~42GB memory for 20B model": 2 bytes a parameter. "FP8 .. ~21GB": one.
  const DeviceMemory whole = accelerator_memory(sharded(bf16, {}), {.context = 4096});
  EXPECT_NEAR(static_cast<double>(whole.weights), 41.8e9, 0.1e9);
  EXPECT_NEAR(static_cast<double>(accelerator_memory(sharded(fp8, {}), {}).weights), 21.5e9, 0.1e9);
  EXPECT_NEAR(static_cast<double>(accelerator_memory(sharded(mxfp4, {}), {}).weights), 13.7e9,
              0.1e9);
  EXPECT_TRUE(show("gpt-oss-20b", bf16, "BF16", "v2-8", 1).fits);
  EXPECT_TRUE(show("gpt-oss-20b", fp8, "fp8", "v6e", 1).fits);
  EXPECT_TRUE(show("gpt-oss-20b", bf16, "BF16", "a100", 1).fits);
  EXPECT_TRUE(show("gpt-oss-20b", mxfp4, "MXFP4", "v5e", 1).fits);
  EXPECT_TRUE(show("gpt-oss-20b", mxfp4, "MXFP4", "h200", 1).fits);
}

// Half of the layers keep 128 positions: the cache of a long context is little more than half.
TEST(GptOss, WindowedLayersHalveTheCache) {
  const Program program = gpt_oss_program(kGptOss20b);
  const PlannedModel model = mxfp4_model(program);
  const DeviceMemory memory =
      accelerator_memory(sharded(model, {}), {.sequences = 1, .context = 131072, .rows = 512});
  const double full = 24.0 * 131072 * 2 * 8 * 64 * 2;
  EXPECT_NEAR(static_cast<double>(memory.kv) / full, 0.5, 0.01);
}

TEST(GptOss, GptOss120bNeedsOneLargeDeviceOrASlice) {
  const Program program = gpt_oss_program(gpt_oss_120b());
  EXPECT_NEAR(parameters(program), 116.8e9, 0.1e9);
  const PlannedModel mxfp4 = mxfp4_model(program);
  EXPECT_NEAR(static_cast<double>(accelerator_memory(sharded(mxfp4, {}), {}).weights), 65.2e9,
              0.3e9);
  EXPECT_TRUE(show("gpt-oss-120b", mxfp4, "MXFP4", "h100", 1).fits);
  EXPECT_TRUE(show("gpt-oss-120b", mxfp4, "MXFP4", "v5e-8", 1).fits);
  EXPECT_TRUE(show("gpt-oss-120b", mxfp4, "MXFP4", "v5p-8", 8).fits);
  EXPECT_FALSE(show("gpt-oss-120b", planned(program), "BF16", "h200", 1).fits);
}

TEST(Llama405b, NeedsASlice) {
  const Program program = program_of("llama-3.1-405b");
  EXPECT_NEAR(parameters(program), 405.9e9, 0.1e9);
  const PlannedModel model = int8_model(program, "bf16");
  EXPECT_FALSE(show("llama-3.1-405b", model, "int8", "v5e-16", 1).fits);
  EXPECT_TRUE(show("llama-3.1-405b", model, "int8", "v5e-64", 8).fits);
  EXPECT_TRUE(show("llama-3.1-405b", model, "int8", "h100-8", 8).fits);
}

}  // namespace
}  // namespace dunlin
