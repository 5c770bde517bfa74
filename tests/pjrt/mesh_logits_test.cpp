// The logits view of a head whose vocabulary is split over the devices of a mesh, against the reference:
// ties across parts, infinities, rows that are not to be sampled. Logits are weights of the head, which
// takes a width of one.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/pjrt/executable.h"
#include "backend/reference/reference.h"
#include "pjrt_device.h"
#include "program/ops.h"

namespace dunlin::pjrt {
namespace {

// Parts of five and of three, of which the last has one and two rows that pad it.
constexpr int64_t kLogits = 10;
constexpr int64_t kCandidates = 4;
constexpr StepLimits kHeadLimits{.rows = 4, .logit_rows = 4, .sequences = 4, .context = 16};
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

Program head_program() {
  auto program = record("head", {}, [](Recorder& r) {
    const AxisList vocabulary = {{Axis::vocab, kLogits}};
    const AxisList width = {{Axis::embed, 1}};
    const Tensor x = embed(r.tokens(), r.weights().matrix("table", vocabulary, width));
    const Tensor logits =
        linear(gather_rows(x, r.logit_rows()), r.weights().matrix("head", vocabulary, width));
    r.output(kLogitsOutput, logits);
    const LogitsViewTensors view = logits_view(logits, r.temperatures(), kCandidates);
    r.output(kStatisticsOutput, view.statistics);
    r.output(kCandidateIdsOutput, view.ids);
    r.output(kCandidateLogitsOutput, view.logits);
  });
  EXPECT_TRUE(program.ok()) << program.error().message;
  return std::move(program).value();
}

WeightView column(const std::string& name, const std::vector<float>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(float));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return {.name = name,
          .format = Format::f32,
          .rows = kLogits,
          .columns = 1,
          .source = memory_source(std::move(bytes), name),
          .offset = 0,
          .row_map = {}};
}

struct LogitsCase {
  std::string name;
  std::vector<float> logits;
};

const std::vector<LogitsCase>& logits_cases() {
  static const std::vector<LogitsCase> kCases = {
      {"plain", {0.5f, -1.0f, 3.0f, 2.0f, -0.5f, 2.5f, 0.0f, -3.0f, 1.0f, 1.5f}},
      {"ties_across_parts", {1, 2, 5, 5, 0, 5, 2, 5, 0, 5}},
      {"all_equal", {2, 2, 2, 2, 2, 2, 2, 2, 2, 2}},
      {"best_in_the_padded_part", {0, 1, 0, 1, 0, 1, 0, 1, 0, 7}},
      {"below_what_pads", {-9, -8, -7, -6, -5, -6, -7, -8, -9, -10}},
      {"part_of_minus_infinity",
       {-kInfinity, -kInfinity, -kInfinity, -kInfinity, -kInfinity, 1, 2, 2, 0, -kInfinity}},
      {"one_number",
       {-kInfinity, -kInfinity, -kInfinity, -kInfinity, -kInfinity, -kInfinity, -kInfinity, 3,
        -kInfinity, -kInfinity}},
      {"nothing_above_minus_infinity", std::vector<float>(kLogits, -kInfinity)},
      {"infinity", {0, 1, 2, 3, 4, 5, kInfinity, 7, 8, 9}},
      {"infinity_in_the_padded_part", {0, 1, 2, 3, 4, 5, 6, 7, 8, kInfinity}},
      {"nan", {0, kNan, 2, 3, 4, 5, 6, 7, 8, 9}},
      {"nan_in_another_part_than_the_best", {9, 8, 7, 6, 5, 4, 3, 2, 1, kNan}},
      {"part_of_nan", {kNan, kNan, kNan, kNan, kNan, 5, 6, 7, 8, 9}},
      {"all_nan", std::vector<float>(kLogits, kNan)},
  };
  return kCases;
}

// Two rows of these logits, with a temperature of their own each.
StepPlan plan() {
  StepPlan plan;
  plan.segments = {{2, 1, RowClass::generated}};
  plan.tokens = {3, 8};
  plan.positions = {0, 5};
  plan.logit_rows = {0, 1};
  plan.temperatures = {1.0f, 0.25f};
  return plan;
}

void expect_near(float actual, float expected, const std::string& what) {
  EXPECT_NEAR(actual, expected, 2e-5f * std::max(1.0f, std::abs(expected))) << what;
}

// A step of which nobody reads whole rows has none, and all else of one that has.
void expect_rows_stay(PjrtExecutable& executable, const StepOutput& with_rows) {
  std::vector<std::vector<int32_t>> ids;
  for (const LogitsView& view : with_rows.logits)
    ids.emplace_back(view.ids.begin(), view.ids.end());
  std::vector<float> lse;
  for (const LogitsView& view : with_rows.logits) lse.push_back(view.lse);
  StepPlan without_rows = plan();
  without_rows.whole_rows = false;
  StepOutput output;
  executable.run(without_rows, *executable.make_kv_state({}).value(), output);
  ASSERT_FALSE(output.failure.has_value()) << output.failure->message;
  ASSERT_EQ(output.logits.size(), ids.size());
  for (size_t r = 0; r < ids.size(); ++r) {
    const LogitsView& view = output.logits[r];
    EXPECT_TRUE(view.row.empty());
    EXPECT_TRUE(view.finite);
    EXPECT_EQ(std::vector<int32_t>(view.ids.begin(), view.ids.end()), ids[r]);
    EXPECT_EQ(view.logits.size(), ids[r].size());
    EXPECT_EQ(view.lse, lse[r]);
  }
}

class MeshLogits : public testing::TestWithParam<MeshShape> {
 protected:
  void SetUp() override { DUNLIN_NEEDS_CPU_PLUGIN(); }
};

TEST_P(MeshLogits, AgreeWithTheReference) {
  const Program program = head_program();
  const auto reference = make_reference_backend();
  const auto client = test_client(GetParam().devices());
  CompileOptions options;
  options.precision = Precision::f32;
  options.limits = kHeadLimits;
  CompileSpec quick;
  quick.options = {{"xla_backend_optimization_level", int64_t{0}}};
  for (const LogitsCase& it : logits_cases()) {
    const WeightView ones = column("table", std::vector<float>(kLogits, 1.0f));
    const WeightView head = column("head", it.logits);
    const WeightSource weights = [&](const std::string& name) -> Result<WeightView> {
      return name == "head" ? head : ones;
    };
    auto expected = reference->compile(program, weights, options);
    ASSERT_TRUE(expected.ok()) << expected.error().message;
    auto actual = PjrtExecutable::create(client, program, weights, options, quick, "", GetParam());
    ASSERT_TRUE(actual.ok()) << actual.error().message;
    StepOutput of_reference;
    StepOutput of_mesh;
    (*expected)->run(plan(), *(*expected)->make_kv_state({}).value(), of_reference);
    (*actual)->run(plan(), *(*actual)->make_kv_state({}).value(), of_mesh);
    ASSERT_FALSE(of_mesh.failure.has_value()) << of_mesh.failure->message;
    ASSERT_EQ(of_mesh.logits.size(), 2u);
    for (size_t r = 0; r < 2; ++r) {
      const LogitsView& view = of_mesh.logits[r];
      const LogitsView& wanted = of_reference.logits[r];
      EXPECT_EQ(view.finite, wanted.finite) << it.name;
      ASSERT_EQ(view.row.size(), it.logits.size()) << it.name;
      for (size_t i = 0; i < view.row.size(); ++i) {
        const bool same =
            std::isnan(it.logits[i]) ? std::isnan(view.row[i]) : view.row[i] == it.logits[i];
        EXPECT_TRUE(same) << it.name << ", logit " << i << " is " << view.row[i];
      }
      if (!wanted.finite) continue;  // the rest means nothing
      EXPECT_EQ(std::vector<int32_t>(view.ids.begin(), view.ids.end()),
                std::vector<int32_t>(wanted.ids.begin(), wanted.ids.end()))
          << it.name;
      EXPECT_EQ(std::vector<float>(view.logits.begin(), view.logits.end()),
                std::vector<float>(wanted.logits.begin(), wanted.logits.end()))
          << it.name;
      expect_near(view.lse, wanted.lse, it.name + ": log-sum-exp");
      expect_near(view.entropy, wanted.entropy, it.name + ": entropy");
      expect_near(view.varentropy, wanted.varentropy, it.name + ": varentropy");
    }
    if (&it == &logits_cases().front()) expect_rows_stay(**actual, of_mesh);
  }
}

// The vocabulary is what the meshes above split: two parts, four, and four of each part of the batch.
TEST(MeshLogitsProgram, SplitsTheVocabulary) {
  const Program program = head_program();
  const WeightView values = column("any", std::vector<float>(kLogits, 1.0f));
  const WeightSource weights = [&](const std::string&) -> Result<WeightView> { return values; };
  const auto sharding = shard_program(program, weights, {.model = 4}, /*splits_batch=*/true);
  ASSERT_TRUE(sharding.ok()) << sharding.error().message;
  size_t logits = 0;
  while (program.outputs[logits].name != kLogitsOutput) ++logits;
  EXPECT_EQ((*sharding)->local((*sharding)->outputs[logits], {1, kLogits}), (Shape{1, 3}));
}

INSTANTIATE_TEST_SUITE_P(Meshes, MeshLogits,
                         testing::Values(MeshShape{}, MeshShape{.model = 2}, MeshShape{.model = 4},
                                         MeshShape{.data = 2, .model = 4}),
                         [](const auto& parameter) {
                           std::string name = to_string(parameter.param);
                           std::erase(name, '=');
                           std::ranges::replace(name, ',', '_');
                           return name;
                         });

}  // namespace
}  // namespace dunlin::pjrt
