// The contract of KvState, for every back end: what is written stays until it is overwritten or its
// page is moved over, whatever else happens.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "backend/cpu/cpu_backend.h"
#include "backend/reference/reference.h"
#include "case_runner.h"
#include "program/ops.h"

namespace dunlin {
namespace {

struct BackendRow {
  const char* name;
  std::unique_ptr<Backend> (*make)();
};
constexpr BackendRow kBackends[] = {{"reference", make_reference_backend},
                                    {"cpu", make_cpu_backend}};

constexpr int64_t kVocabulary = 40;
constexpr int64_t kPages = 8;

// One layer, full attention: every key that the sequence holds changes the result.
void record_layer(Recorder& r, MaskKind mask) {
  const auto input = [&r](const std::string& name, int64_t heads) {
    const WeightScope inputs = r.weights().scope("inputs");
    const Tensor table =
        inputs.matrix(name, {{Axis::vocab, kVocabulary}}, {{Axis::embed, heads * 16}});
    return reshape(embed(r.tokens(), table), {Symbol::rows, heads, 16});
  };
  const Recorder::KvLayer place = r.kv_layer(0, 2, 16);
  AttentionAttributes attributes;
  attributes.mask = mask;
  attributes.group = place.group;
  attributes.layer = place.layer;
  r.output("result", attention(input("q", 4), input("k", 2), input("v", 2), {}, attributes));
}

// One sequence's rows in a step of its own.
StepPlan plan_of(const std::vector<int32_t>& tokens, int32_t first_position,
                 const std::vector<int32_t>& pages) {
  StepPlan plan;
  plan.segments = {{1, static_cast<int32_t>(tokens.size()), RowClass::prompt}};
  plan.tokens = tokens;
  for (size_t i = 0; i < tokens.size(); ++i) {
    plan.positions.push_back(first_position + static_cast<int32_t>(i));
  }
  plan.tables = {{{0, static_cast<int32_t>(pages.size())}, pages}};
  return plan;
}

std::vector<int32_t> tokens(int32_t first, int32_t count) {
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < count; ++i) ids.push_back((first + 3 * i) % int32_t{kVocabulary});
  return ids;
}

struct Storage {
  Precision precision;
  KvType type;
};
constexpr Storage kStorages[] = {{Precision::f32, KvType::f32},
                                 {Precision::automatic, KvType::bf16},
                                 {Precision::automatic, KvType::int8}};

class KvStateContract : public testing::TestWithParam<std::tuple<BackendRow, Storage>> {
 protected:
  void SetUp() override { compile(MaskKind::full); }

  void compile(MaskKind mask) {
    auto program = record("layer", {}, [mask](Recorder& r) { record_layer(r, mask); });
    ASSERT_TRUE(program.ok()) << program.error().message;
    program_ = std::move(program).value();
    CompileOptions options;
    options.precision = std::get<1>(GetParam()).precision;
    options.kv_type = std::get<1>(GetParam()).type;
    auto executable = std::get<0>(GetParam())
                          .make()
                          ->compile(program_, case_weights(program_, Format::f32), options);
    ASSERT_TRUE(executable.ok()) << executable.error().message;
    executable_ = std::move(executable).value();
  }

  std::unique_ptr<KvState> make_state() {
    auto state = executable_->make_kv_state({kPages});
    EXPECT_TRUE(state.ok());
    return std::move(state).value();
  }

  std::vector<float> run(KvState& state, const StepPlan& plan) {
    const auto valid = validate(plan, program_, StepLimits(), state);
    EXPECT_TRUE(valid.ok()) << valid.error().message;
    StepOutput output;
    executable_->run(plan, state, output);
    const View& view = output.taps.front().view;
    return {view.f32(), view.f32() + element_count(view.shape)};
  }

  Program program_;
  std::unique_ptr<Executable> executable_;
};

TEST_P(KvStateContract, ReportsItsPagesAndBytes) {
  const auto state = make_state();
  EXPECT_EQ(state->pages(0), kPages);
  const KvType type = std::get<1>(GetParam()).type;
  const auto heads = static_cast<uint64_t>(kPages * 2 * 2 * kPageTokens);  // of keys and of values
  const auto head_bytes = static_cast<uint64_t>(kv_head_bytes(type, 16));
  EXPECT_GE(state->bytes(), heads * head_bytes);
  EXPECT_LE(state->bytes(), heads * head_bytes * 2);  // dimensions may be padded to 32
  EXPECT_NE(state->layout().find(kv_type_name(type)), std::string::npos) << state->layout();
}

TEST_P(KvStateContract, RefusesPageCountsThatMakeNoSense) {
  EXPECT_FALSE(executable_->make_kv_state({}).ok());
  EXPECT_FALSE(executable_->make_kv_state({1, 1}).ok());
  EXPECT_FALSE(executable_->make_kv_state({-1}).ok());
  const auto huge = executable_->make_kv_state({int64_t{1} << 60});
  ASSERT_FALSE(huge.ok());
  EXPECT_EQ(huge.error().kind, ErrorKind::does_not_fit);
}

TEST_P(KvStateContract, KeepsWhatEarlierStepsWrote) {
  const auto in_one = make_state();
  const std::vector<float> expected = run(*in_one, plan_of(tokens(1, 20), 0, {3, 6}));
  const auto in_two = make_state();
  run(*in_two, plan_of(tokens(1, 19), 0, {3, 6}));
  const std::vector<float> last = run(*in_two, plan_of({tokens(1, 20)[19]}, 19, {3, 6}));
  EXPECT_EQ(std::vector<float>(expected.end() - 64, expected.end()), last);
}

TEST_P(KvStateContract, StatesOfOneExecutableAreApart) {
  const auto first = make_state();
  const auto second = make_state();
  run(*first, plan_of(tokens(1, 10), 0, {0}));
  run(*second, plan_of(tokens(9, 10), 0, {0}));
  const auto alone = make_state();
  run(*alone, plan_of(tokens(1, 10), 0, {0}));
  EXPECT_EQ(run(*first, plan_of({5}, 10, {0})), run(*alone, plan_of({5}, 10, {0})));
}

TEST_P(KvStateContract, OverwritesASlot) {
  const auto fresh = make_state();
  run(*fresh, plan_of(tokens(2, 12), 0, {4}));
  const auto used = make_state();
  run(*used, plan_of(tokens(30, 12), 0, {4}));
  run(*used, plan_of(tokens(2, 12), 0, {4}));
  EXPECT_EQ(run(*fresh, plan_of({5}, 12, {4})), run(*used, plan_of({5}, 12, {4})));
}

TEST_P(KvStateContract, MovesCopyAPageBeforeTheFirstWrite) {
  const auto state = make_state();
  run(*state, plan_of(tokens(1, 10), 0, {2}));
  // A fork: page 2 is copied to 7 and both go on; the copy must hold what 2 held before.
  StepPlan fork;
  fork.segments = {{2, 1, RowClass::generated}};
  fork.tokens = {11, 22};
  fork.positions = {10, 10};
  fork.tables = {{{0, 1, 2}, {2, 7}}};
  fork.moves = {{0, 2, 7}};
  const std::vector<float> both = run(*state, fork);
  for (const int32_t branch : {0, 1}) {
    const auto alone = make_state();
    run(*alone, plan_of(tokens(1, 10), 0, {0}));
    const std::vector<float> expected =
        run(*alone, plan_of({fork.tokens[static_cast<size_t>(branch)]}, 10, {0}));
    const auto first = both.begin() + branch * 64;
    EXPECT_EQ(std::vector<float>(first, first + 64), expected) << branch;
  }
}

TEST_P(KvStateContract, MovesRunInOrder) {
  const auto state = make_state();
  run(*state, plan_of(tokens(1, 10), 0, {0}));
  run(*state, plan_of(tokens(17, 10), 0, {1}));
  StepPlan plan = plan_of({5}, 10, {3});
  plan.moves = {{0, 1, 2}, {0, 0, 1}, {0, 1, 3}};  // 3 becomes what 0 was
  const auto alone = make_state();
  run(*alone, plan_of(tokens(1, 10), 0, {0}));
  EXPECT_EQ(run(*state, plan), run(*alone, plan_of({5}, 10, {0})));
}

TEST_P(KvStateContract, SavedPagesContinueElsewhere) {
  const auto first = make_state();
  run(*first, plan_of(tokens(1, 20), 0, {3, 6}));
  const auto second = make_state();
  EXPECT_EQ(second->layout(), first->layout());
  std::vector<std::byte> page(first->page_bytes(0));
  ASSERT_EQ(page.size(), first->bytes() / kPages);
  for (const auto& [from, to] : {std::pair(3, 5), std::pair(6, 0)}) {
    first->save_page(0, from, page);
    second->load_page(0, to, page);
  }
  EXPECT_EQ(run(*first, plan_of({7}, 20, {3, 6})), run(*second, plan_of({7}, 20, {5, 0})));
}

TEST_P(KvStateContract, StaleSlotsOfAReusedPageAreNotSeen) {
  const auto fresh = make_state();
  const std::vector<float> expected = run(*fresh, plan_of(tokens(2, 5), 0, {4}));
  const auto used = make_state();
  run(*used, plan_of(tokens(30, 16), 0, {4}));
  EXPECT_EQ(run(*used, plan_of(tokens(2, 5), 0, {4})), expected);
}

TEST_P(KvStateContract, LengthsTellFullAttentionHowFarTheSequenceReaches) {
  const auto state = make_state();
  run(*state, plan_of(tokens(1, 14), 0, {4}));
  StepPlan inside = plan_of(tokens(20, 4), 4, {4});
  inside.lengths = {14};
  const std::vector<float> seen = run(*state, inside);
  inside.lengths = {8};
  EXPECT_NE(run(*state, inside), seen);
  // The same canvas in one step: rows 4..7 see all fourteen keys.
  std::vector<int32_t> canvas = tokens(1, 14);
  std::copy_n(tokens(20, 4).begin(), 4, canvas.begin() + 4);
  const auto whole = make_state();
  const std::vector<float> rows = run(*whole, plan_of(canvas, 0, {4}));
  EXPECT_EQ(std::vector<float>(rows.begin() + 4 * 64, rows.begin() + 8 * 64), seen);
}

TEST_P(KvStateContract, MissingPagesAreNotSeen) {
  compile(MaskKind::causal);
  const auto state = make_state();
  run(*state, plan_of(tokens(1, 40), 0, {0, 1, 2}));
  const std::vector<float> all = run(*state, plan_of({5}, 40, {0, 1, 2}));
  const std::vector<float> without = run(*state, plan_of({5}, 40, {0, -1, 2}));
  EXPECT_NE(all, without);
  // Whatever the evicted page held.
  const auto other = make_state();
  std::vector<int32_t> prompt = tokens(1, 40);
  for (size_t i = 16; i < 32; ++i) prompt[i] = 0;
  run(*other, plan_of(prompt, 0, {3, 4, 5}));
  EXPECT_EQ(run(*other, plan_of({5}, 40, {3, -1, 5})), without);
}

INSTANTIATE_TEST_SUITE_P(Backends, KvStateContract,
                         testing::Combine(testing::ValuesIn(kBackends),
                                          testing::ValuesIn(kStorages)),
                         [](const auto& parameter) {
                           return std::string(std::get<0>(parameter.param).name) + "_" +
                                  kv_type_name(std::get<1>(parameter.param).type);
                         });

}  // namespace
}  // namespace dunlin
