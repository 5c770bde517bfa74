// Attention of more rows than a tile has places: blocks of rows, each over the places that it may see,
// with the values that steps of fewer rows have.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "backend/pjrt/executable.h"
#include "backend/pjrt/lower/lower.h"
#include "case_runner.h"
#include "pjrt_device.h"
#include "program/definitions.h"
#include "program/ops.h"

namespace dunlin::pjrt {
namespace {

using testing::HasSubstr;
using testing::Not;

// Neither is a multiple of the 512 rows of a block and places of a tile.
constexpr int32_t kManyRows = 1100;
constexpr int64_t kManyPlaces = 1200;
constexpr int32_t kFewRows = 256;
constexpr int64_t kQueryWidth = 4 * 16;

struct BlocksCase {
  std::string name;
  MaskKind mask = MaskKind::causal;
  int64_t window = 0;
  bool sinks = false;
};

// 4 query heads on 2 kv heads of 16.
Program attention_program(const BlocksCase& it) {
  auto program = record("rows", {}, [&it](Recorder& r) {
    const auto input = [&r](const std::string& name, int64_t heads) {
      const WeightScope inputs = r.weights().scope("inputs");  // of variance 1
      const Tensor table = inputs.matrix(name, {{Axis::vocab, 64}}, {{Axis::embed, heads * 16}});
      return reshape(embed(r.tokens(), table), {Symbol::rows, heads, 16});
    };
    const auto place = r.kv_layer(it.window, 2, 16);
    AttentionAttributes attributes;
    attributes.mask = it.mask;
    attributes.window = it.window;
    attributes.has_sinks = it.sinks;
    attributes.group = place.group;
    attributes.layer = place.layer;
    Tensor sinks;
    if (it.sinks) sinks = r.weights().vector("sinks", {{Axis::kv_heads, 2}, {Axis::q_group, 2}});
    r.output("result", attention(input("q", 4), input("k", 2), input("v", 2), sinks, attributes));
  });
  EXPECT_TRUE(program.ok()) << program.error().message;
  return std::move(program).value();
}

// Rows [first, first + rows) of a sequence of kManyRows, all of which it holds.
StepPlan rows_of_sequence(int32_t first, int32_t rows) {
  StepPlan plan;
  plan.segments = {{1, rows, RowClass::prompt}};
  for (int32_t i = first; i < first + rows; ++i) {
    plan.tokens.push_back((7 * i + i / 64) % 64);
    plan.positions.push_back(i);
  }
  plan.lengths = {kManyRows};
  KvTable& table = plan.tables.emplace_back();
  table.pages.resize(static_cast<size_t>(kManyPlaces / kPageTokens));
  std::iota(table.pages.begin(), table.pages.end(), 0);
  table.first = {0, static_cast<int32_t>(table.pages.size())};
  return plan;
}

class AttentionBlocks : public testing::TestWithParam<BlocksCase> {
 protected:
  std::vector<float> run(PjrtExecutable& executable, KvState& state, const StepPlan& plan) {
    StepOutput output;
    executable.run(plan, state, output);
    EXPECT_FALSE(output.failure.has_value()) << output.failure->message;
    const View& view = output.taps.front().view;
    return {view.f32(), view.f32() + element_count(view.shape)};
  }
};

TEST_P(AttentionBlocks, RowsAreThoseOfSmallerSteps) {
  DUNLIN_NEEDS_PLUGIN();
  const Program program = attention_program(GetParam());
  CompileOptions options;
  options.precision = Precision::f32;
  options.limits = {.rows = kManyRows, .logit_rows = 1, .sequences = 1, .context = kManyPlaces};
  CompileSpec quick;
  if (on_cpu()) quick.options = {{"xla_backend_optimization_level", int64_t{0}}};
  auto executable = PjrtExecutable::create(test_client(), program,
                                           case_weights(program, Format::f32), options, quick);
  ASSERT_TRUE(executable.ok()) << executable.error().message;
  auto state = (*executable)->make_kv_state({kManyPlaces / kPageTokens});
  ASSERT_TRUE(state.ok()) << state.error().message;
  const std::vector<float> all = run(**executable, **state, rows_of_sequence(0, kManyRows));
  ASSERT_EQ(std::ssize(all), kManyRows * kQueryWidth);
  for (int32_t first = 0; first < kManyRows; first += kFewRows) {
    const int32_t rows = std::min(kFewRows, kManyRows - first);
    const std::vector<float> some = run(**executable, **state, rows_of_sequence(first, rows));
    float most = 0.0f;
    for (size_t i = 0; i < some.size(); ++i) {
      const float expected = some[i];
      const float actual = all[static_cast<size_t>(first * kQueryWidth) + i];
      most = std::max(most, std::abs(actual - expected) / std::max(1.0f, std::abs(expected)));
      ASSERT_FALSE(std::isnan(actual));
    }
    EXPECT_LE(most, tolerance().f32) << "rows from " << first;
  }
}

INSTANTIATE_TEST_SUITE_P(Masks, AttentionBlocks,
                         testing::Values(BlocksCase{"causal"}, BlocksCase{"full", MaskKind::full},
                                         BlocksCase{"window_and_sinks", MaskKind::causal, 200,
                                                    true}),
                         [](const auto& parameter) { return parameter.param.name; });

// No more scores are held than of 512 rows over 512 places, whatever the prompt.
TEST(AttentionBlocksText, ScoresAreThoseOfABlock) {
  const Program program = attention_program(BlocksCase{"causal"});
  auto expanded = expand(program, [](const Node& node) { return is_lowered_directly(node.op); });
  ASSERT_TRUE(expanded.ok());
  LoweringOptions options;
  options.precision = Precision::f32;
  options.formats.assign(expanded->weights.size(), Format::f32);
  const auto text_of = [&](int64_t rows) {
    const Bucket bucket{.segments = {{1, rows}},
                        .logit_rows = 1,
                        .kv_length = 8192,
                        .slots = 8192,
                        .groups = {{1, 8192}}};
    return lower(*expanded, bucket, options).text;
  };
  // Of 2 kv heads with 2 query heads each.
  const std::string of_block = "tensor<1x2x1024x512xf32>";
  EXPECT_THAT(text_of(512), HasSubstr(of_block));
  EXPECT_THAT(text_of(4096), HasSubstr(of_block));
  EXPECT_THAT(text_of(4096), Not(HasSubstr("x8192x512x")));
}

}  // namespace
}  // namespace dunlin::pjrt
