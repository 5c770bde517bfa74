// Loops on a device: which ids rows choose one after the other, and when they end. The model is a table:
// the logits behind a token are a row of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/pjrt/executable.h"
#include "backend/pjrt/loop_steps.h"
#include "pjrt_device.h"
#include "program/ops.h"

namespace dunlin::pjrt {
namespace {

using testing::ElementsAre;

constexpr int64_t kTokens = 8;
constexpr int64_t kSteps = 6;
constexpr StepLimits kLoopLimits{.rows = 16, .logit_rows = 4, .sequences = 4, .context = 64};
// In the place of an id.
constexpr int32_t kNone = -1;
constexpr int32_t kUnusable = -2;

// What a model that is asked for its candidates gives.
void give_logits(Recorder& r, Tensor logits) {
  r.output(kLogitsOutput, logits);
  const LogitsViewTensors view = logits_view(logits, r.temperatures(), 3);
  r.output(kStatisticsOutput, view.statistics);
  r.output(kCandidateIdsOutput, view.ids);
  r.output(kCandidateLogitsOutput, view.logits);
}

// The rows of the table that the tokens name.
Tensor table_rows(Recorder& r) {
  const Tensor table =
      r.weights().matrix("table", {{Axis::vocab, kTokens}}, {{Axis::embed, kTokens}});
  return embed(r.tokens(), table);
}

Program recorded(const std::function<void(Recorder&)>& forward) {
  auto program = record("table", {}, forward);
  EXPECT_TRUE(program.ok()) << program.error().message;
  return std::move(program).value();
}

Program table_program() {
  return recorded([](Recorder& r) { give_logits(r, gather_rows(table_rows(r), r.logit_rows())); });
}

// 0 -> 1 -> 2 -> 3 -> 4 -> 0, where behind 1 token 5 is as good as 2; 5 -> 5; 7 -> 6, and behind 6 there
// is no number among the logits.
WeightSource table_weights() {
  std::vector<float> table(static_cast<size_t>(kTokens * kTokens), -1.0f);
  const auto set = [&table](int64_t token, int64_t next, float logit) {
    table[static_cast<size_t>(token * kTokens + next)] = logit;
  };
  for (const auto& [token, next] :
       {std::pair(0, 1), std::pair(1, 2), std::pair(1, 5), std::pair(2, 3), std::pair(3, 4),
        std::pair(4, 0), std::pair(5, 5), std::pair(7, 6)}) {
    set(token, next, 2.0f);
  }
  for (int64_t next = 0; next < kTokens; ++next)
    set(6, next, std::numeric_limits<float>::quiet_NaN());
  std::vector<std::byte> bytes(table.size() * sizeof(float));
  std::memcpy(bytes.data(), table.data(), bytes.size());
  const WeightView view{.name = "table",
                        .format = Format::f32,
                        .rows = kTokens,
                        .columns = kTokens,
                        .source = memory_source(std::move(bytes), "table"),
                        .offset = 0,
                        .row_map = {}};
  return [view](const std::string&) -> Result<WeightView> { return view; };
}

// Sequences of one row with these tokens.
StepPlan loop_of(std::vector<int32_t> tokens) {
  StepPlan plan;
  const auto rows = static_cast<int32_t>(tokens.size());
  plan.segments = {{rows, 1, RowClass::generated}};
  plan.tokens = std::move(tokens);
  for (int32_t row = 0; row < rows; ++row) {
    plan.positions.push_back(3 + row);
    plan.logit_rows.push_back(row);
  }
  plan.steps = static_cast<int32_t>(kSteps);
  plan.stop_ids.assign(static_cast<size_t>(rows) * size_t{kStopIdsOfRow}, -1);
  return plan;
}

class Loops : public testing::TestWithParam<MeshShape> {
 protected:
  void SetUp() override {
    DUNLIN_NEEDS_PLUGIN();
    if (GetParam().devices() > 1) DUNLIN_NEEDS_CPU_PLUGIN();
    program_ = table_program();
    CompileOptions options;
    options.precision = Precision::f32;
    options.limits = kLoopLimits;
    auto executable = PjrtExecutable::create(test_client(GetParam().devices()), program_,
                                             table_weights(), options, {}, "", GetParam(), kSteps);
    ASSERT_TRUE(executable.ok()) << executable.error().message;
    executable_ = std::move(executable).value();
    auto state = executable_->make_kv_state({});
    ASSERT_TRUE(state.ok()) << state.error().message;
    state_ = std::move(state).value();
  }

  // Of each row its ids, step by step.
  std::vector<std::vector<int32_t>> run(const StepPlan& plan) {
    const auto valid = validate(plan, program_, kLoopLimits, *state_, executable_->most_steps());
    EXPECT_TRUE(valid.ok()) << valid.error().message;
    StepOutput output;
    executable_->run(plan, *state_, output);
    EXPECT_FALSE(output.failure.has_value()) << output.failure->message;
    const size_t rows = plan.logit_rows.size();
    EXPECT_EQ(output.logits.size(), rows * static_cast<size_t>(plan.steps));
    std::vector<std::vector<int32_t>> ids(rows);
    for (size_t i = 0; i < output.logits.size(); ++i) {
      const LogitsView& view = output.logits[i];
      const int32_t none = view.finite ? kNone : kUnusable;
      ids[i % rows].push_back(view.ids.empty() ? none : view.ids.front());
    }
    return ids;
  }

  Program program_;
  std::unique_ptr<PjrtExecutable> executable_;
  std::unique_ptr<KvState> state_;
};

TEST_P(Loops, EachRowsBestIsItsNextToken) {
  EXPECT_EQ(executable_->most_steps(), kSteps);
  EXPECT_THAT(run(loop_of({0, 5, 3})),
              ElementsAre(ElementsAre(1, 2, 3, 4, 0, 1), ElementsAre(5, 5, 5, 5, 5, 5),
                          ElementsAre(4, 0, 1, 2, 3, 4)));
}

// As step after step has them, each with its own program.
TEST_P(Loops, AgreeWithSingleSteps) {
  const std::vector<int32_t> looped = run(loop_of({2})).front();
  int32_t token = 2;
  for (int64_t i = 0; i < kSteps; ++i) {
    StepPlan plan = loop_of({token});
    plan.steps = 1;
    plan.stop_ids.clear();
    plan.positions.front() += static_cast<int32_t>(i);
    token = run(plan).front().front();
    EXPECT_EQ(token, looped[static_cast<size_t>(i)]) << i;
  }
}

TEST_P(Loops, AStopIdEndsItsRowAlone) {
  StepPlan plan = loop_of({0, 0});
  plan.stop_ids[0] = 7;
  plan.stop_ids[size_t{kStopIdsOfRow} - 1] = 3;  // of the first row
  EXPECT_THAT(run(plan), ElementsAre(ElementsAre(1, 2, 3, kNone, kNone, kNone),
                                     ElementsAre(1, 2, 3, 4, 0, 1)));
}

TEST_P(Loops, EveryRowTakesItsOwnNumberOfSteps) {
  StepPlan plan = loop_of({0, 5, 4});
  plan.row_steps = {2, 6, 1};
  EXPECT_THAT(run(plan), ElementsAre(ElementsAre(1, 2, kNone, kNone, kNone, kNone),
                                     ElementsAre(5, 5, 5, 5, 5, 5),
                                     ElementsAre(0, kNone, kNone, kNone, kNone, kNone)));
}

// One program serves loops of any number of steps.
TEST_P(Loops, FewerStepsCompileNothing) {
  run(loop_of({0, 5}));
  const int64_t compiled = executable_->programs().compiled;
  for (const int32_t steps : {2, 3, 5}) {
    StepPlan plan = loop_of({0, 3});
    plan.steps = steps;
    std::vector<int32_t> expected = {1, 2, 3, 4, 0};
    expected.resize(static_cast<size_t>(steps));
    EXPECT_EQ(run(plan).front(), expected);
  }
  EXPECT_EQ(executable_->programs().compiled, compiled);
}

TEST_P(Loops, LogitsThatAreNoNumbersEndTheirRow) {
  EXPECT_THAT(run(loop_of({7, 0, 6})),
              ElementsAre(ElementsAre(6, kUnusable, kNone, kNone, kNone, kNone),
                          ElementsAre(1, 2, 3, 4, 0, 1),
                          ElementsAre(kUnusable, kNone, kNone, kNone, kNone, kNone)));
}

// The loop ends, and what comes after it is a step like any other.
TEST_P(Loops, ALoopWhoseRowsAllEndIsFollowedByOthers) {
  StepPlan ends = loop_of({0, 1});
  ends.stop_ids[0] = 1;
  ends.stop_ids[size_t{kStopIdsOfRow}] = 2;
  EXPECT_THAT(run(ends), ElementsAre(ElementsAre(1, kNone, kNone, kNone, kNone, kNone),
                                     ElementsAre(2, kNone, kNone, kNone, kNone, kNone)));
  EXPECT_THAT(run(loop_of({4})), ElementsAre(ElementsAre(0, 1, 2, 3, 4, 0)));
}

const auto mesh_name = [](const auto& parameter) {
  std::string name = to_string(parameter.param);
  std::erase(name, '=');
  std::ranges::replace(name, ',', '_');
  return name;
};
INSTANTIATE_TEST_SUITE_P(Meshes, Loops,
                         testing::Values(MeshShape{}, MeshShape{.data = 2},
                                         MeshShape{.data = 2, .model = 2}),
                         mesh_name);

TEST(LoopSteps, AreNoMoreThanAWindowHasRoomFor) {
  const Program program = table_program();
  EXPECT_EQ(loop_steps(program, kLoopLimits, 8), 8);
  EXPECT_EQ(loop_steps(program, kLoopLimits, 64), kLoopLimits.rows);
  EXPECT_EQ(loop_steps(program, kLoopLimits, 1), 1);
}

TEST(LoopSteps, ProgramsThatTheHostMustSeeHaveNone) {
  const Program without_candidates = recorded(
      [](Recorder& r) { r.output(kLogitsOutput, gather_rows(table_rows(r), r.logit_rows())); });
  EXPECT_EQ(loop_steps(without_candidates, kLoopLimits, 8), 1);
  const Program with_tap = recorded([](Recorder& r) {
    const Tensor x = table_rows(r);
    give_logits(r, gather_rows(x, r.logit_rows()));
    r.output("hidden", x);
  });
  EXPECT_EQ(loop_steps(with_tap, kLoopLimits, 8), 1);
}

// Rows that see what comes after them change with every token that is added.
TEST(LoopSteps, AttentionLooksAtWhatCameBefore) {
  const auto attending = [](MaskKind mask) {
    return recorded([mask](Recorder& r) {
      const Tensor heads = reshape(table_rows(r), {Symbol::rows, 1, kTokens});
      const Recorder::KvLayer place = r.kv_layer(0, 1, kTokens);
      AttentionAttributes attributes;
      attributes.mask = mask;
      attributes.group = place.group;
      attributes.layer = place.layer;
      const Tensor attended = attention(heads, heads, heads, {}, attributes);
      give_logits(r, gather_rows(reshape(attended, {Symbol::rows, kTokens}), r.logit_rows()));
    });
  };
  EXPECT_EQ(loop_steps(attending(MaskKind::causal), kLoopLimits, 8), 8);
  EXPECT_EQ(loop_steps(attending(MaskKind::full), kLoopLimits, 8), 1);
}

}  // namespace
}  // namespace dunlin::pjrt
