// The contract of KvState on slots, on one device and on meshes: what is written stays until it is
// overwritten or a page is moved over it, and it is updated where it lies.
#include "backend/pjrt/kv_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "backend/pjrt/executable.h"
#include "backend/pjrt/lower/lower.h"
#include "backend/reference/reference.h"
#include "base/byte_source.h"
#include "case_runner.h"
#include "pjrt_device.h"
#include "program/ops.h"

namespace dunlin {
namespace {

constexpr int64_t kVocabulary = 40;
constexpr StepLimits kLimits{.rows = 24, .logit_rows = 2, .sequences = 3, .context = 64};
constexpr int32_t kPagesPerSlot = 4;

void record_layer(Recorder& r, MaskKind mask, int64_t window) {
  const auto input = [&r](const std::string& name, int64_t heads) {
    const WeightScope inputs = r.weights().scope("inputs");
    const Tensor table =
        inputs.matrix(name, {{Axis::vocab, kVocabulary}}, {{Axis::embed, heads * 16}});
    return reshape(embed(r.tokens(), table), {Symbol::rows, heads, 16});
  };
  const Recorder::KvLayer place = r.kv_layer(window, 2, 16);
  AttentionAttributes attributes;
  attributes.mask = mask;
  attributes.window = window;
  attributes.group = place.group;
  attributes.layer = place.layer;
  r.output("result", attention(input("q", 4), input("k", 2), input("v", 2), {}, attributes));
}

// Rows of the sequence in `slot`; page numbers in `missing` are absent.
StepPlan plan_of(const std::vector<int32_t>& tokens, int32_t first_position, int32_t slot,
                 const std::vector<int32_t>& missing = {}) {
  StepPlan plan;
  plan.segments = {{1, static_cast<int32_t>(tokens.size()), RowClass::prompt}};
  plan.tokens = tokens;
  for (size_t i = 0; i < tokens.size(); ++i) {
    plan.positions.push_back(first_position + static_cast<int32_t>(i));
  }
  KvTable table{{0, kPagesPerSlot}, {}};
  for (int32_t page = 0; page < kPagesPerSlot; ++page) {
    const bool absent = std::ranges::find(missing, page) != missing.end();
    table.pages.push_back(absent ? -1 : slot * kPagesPerSlot + page);
  }
  plan.tables = {table};
  return plan;
}

std::vector<int32_t> tokens(int32_t first, int32_t count) {
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < count; ++i) ids.push_back((first + 3 * i) % int32_t{kVocabulary});
  return ids;
}

constexpr int32_t kNanToken = int32_t{kVocabulary} - 1;  // which tokens() has no use for

// As case_weights() has them, but the value of one token is no number.
WeightSource weights_with_nan(const Program& program) {
  const WeightSource plain = case_weights(program, Format::f32);
  return [plain](const std::string& name) -> Result<WeightView> {
    DUNLIN_ASSIGN_OR_RETURN(WeightView view, plain(name));
    if (name != "inputs.v") return view;
    const auto columns = static_cast<size_t>(view.columns);
    std::vector<std::byte> bytes(static_cast<size_t>(view.rows) * columns * sizeof(float));
    DUNLIN_RETURN_IF_ERROR(view.read_rows(0, view.rows, bytes));
    const std::vector<float> row(columns, std::numeric_limits<float>::quiet_NaN());
    std::memcpy(bytes.data() + size_t{kNanToken} * columns * sizeof(float), row.data(),
                columns * sizeof(float));
    view.source = memory_source(std::move(bytes), name);
    return view;
  };
}

class PjrtKvStateContract : public testing::TestWithParam<MeshShape> {
 protected:
  void SetUp() override {
    DUNLIN_NEEDS_PLUGIN();
    if (GetParam().devices() > 1) DUNLIN_NEEDS_CPU_PLUGIN();
    compile(MaskKind::full);
  }

  void compile(MaskKind mask, bool with_nan = false, int64_t window = 0) {
    auto program =
        record("layer", {}, [mask, window](Recorder& r) { record_layer(r, mask, window); });
    ASSERT_TRUE(program.ok()) << program.error().message;
    program_ = std::move(program).value();
    const WeightSource weights =
        with_nan ? weights_with_nan(program_) : case_weights(program_, Format::f32);
    CompileOptions options;
    options.precision = Precision::f32;
    options.limits = kLimits;
    auto executable = pjrt::PjrtExecutable::create(pjrt::test_client(GetParam().devices()),
                                                   program_, weights, options, {}, "", GetParam());
    ASSERT_TRUE(executable.ok()) << executable.error().message;
    executable_ = std::move(executable).value();
  }

  std::unique_ptr<KvState> make_state() {
    auto state = executable_->make_kv_state({kLimits.sequences * kPagesPerSlot});
    EXPECT_TRUE(state.ok()) << state.error().message;
    return std::move(state).value();
  }

  std::vector<float> run(KvState& state, const StepPlan& plan) {
    const auto valid = validate(plan, program_, kLimits, state);
    EXPECT_TRUE(valid.ok()) << valid.error().message;
    StepOutput output;
    executable_->run(plan, state, output);
    EXPECT_FALSE(output.failure.has_value()) << output.failure->message;
    const View& view = output.taps.front().view;
    return {view.f32(), view.f32() + element_count(view.shape)};
  }

  // Rows of different launches differ in the order of sums.
  static auto near(const std::vector<float>& values) {
    return testing::Pointwise(testing::FloatNear(1e-5f), values);
  }

  Program program_;
  std::unique_ptr<pjrt::PjrtExecutable> executable_;
};

TEST_P(PjrtKvStateContract, ReportsItsPagesAndBytes) {
  const auto state = make_state();
  EXPECT_EQ(executable_->pages_per_slot(0), kPagesPerSlot);
  EXPECT_EQ(state->pages_per_slot(0), kPagesPerSlot);
  EXPECT_EQ(state->pages(0), 3 * kPagesPerSlot);
  // Keys and values, two heads of 16 float32: of three slots, or of two for each of two parts.
  const auto slots = static_cast<uint64_t>(GetParam().data == 1 ? 3 : 2 * GetParam().data);
  EXPECT_EQ(state->bytes(), slots * 64 * 2 * 2 * 16 * 4);
}

// By one small program for all arrays of a type: nothing is sent to them.
TEST_P(PjrtKvStateContract, BeginsAsZerosThatTheDevicesMake) {
  const auto state = make_state();
  EXPECT_EQ(executable_->programs().compiled, 1);
  auto& own = dynamic_cast<pjrt::PjrtKvState&>(*state);
  ASSERT_EQ(std::ssize(own.devices()), GetParam().devices());
  for (const auto& arrays : own.devices()) {
    ASSERT_EQ(arrays.size(), own.types().size());
    for (size_t i = 0; i < arrays.size(); ++i) {
      std::vector<float> values(static_cast<size_t>(element_count(own.types()[i].dims)), 1.0f);
      const auto copied =
          arrays[i].download(own.types()[i], std::as_writable_bytes(std::span(values)));
      ASSERT_TRUE(copied.ok()) << copied.error().message;
      EXPECT_TRUE(std::ranges::all_of(values, [](float value) { return value == 0.0f; }));
    }
  }
  make_state();
  EXPECT_EQ(executable_->programs().compiled, 1);
}

TEST_P(PjrtKvStateContract, RefusesPageCountsThatMakeNoSense) {
  EXPECT_FALSE(executable_->make_kv_state({}).ok());
  EXPECT_FALSE(executable_->make_kv_state({4, 4}).ok());
  EXPECT_FALSE(executable_->make_kv_state({-4}).ok());
  EXPECT_FALSE(executable_->make_kv_state({5}).ok());
  // The second would overflow where slots are dealt to parts of the batch.
  const int64_t most = std::numeric_limits<int64_t>::max();
  for (const int64_t pages : {int64_t{1} << 60, most - most % kPagesPerSlot}) {
    const auto huge = executable_->make_kv_state({pages});
    ASSERT_FALSE(huge.ok());
    EXPECT_EQ(huge.error().kind, ErrorKind::does_not_fit);
  }
}

// 64 positions of keys and values of two heads of 16 are 16 KiB a slot: 2^49 - 1 slots are 16 KiB less
// than a number of bytes can be, and the slot that pads the last part is too many.
TEST_P(PjrtKvStateContract, SlotsThatPadAPartCount) {
  const std::vector<pjrt::KvGroupShape> fits = {{(int64_t{1} << 49) - 1, 64}};
  EXPECT_TRUE(pjrt::kv_bytes_f32(program_, fits).ok());
  const std::vector<pjrt::KvGroupShape> padded = {{int64_t{1} << 49, 64}};
  EXPECT_FALSE(pjrt::kv_bytes_f32(program_, padded).ok());
  if (GetParam().data == 1) return;  // nothing is padded, and the device is asked for 2^63 bytes
  const auto refused = executable_->make_kv_state({((int64_t{1} << 49) - 1) * kPagesPerSlot});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind, ErrorKind::does_not_fit);
}

TEST_P(PjrtKvStateContract, RefusesTablesThatAreNoSlots) {
  const auto state = make_state();
  StepPlan plan = plan_of(tokens(1, 20), 0, 1);
  std::swap(plan.tables[0].pages[0], plan.tables[0].pages[1]);
  EXPECT_FALSE(validate(plan, program_, kLimits, *state).ok());
}

TEST_P(PjrtKvStateContract, KeepsWhatEarlierStepsWrote) {
  const auto in_one = make_state();
  const std::vector<float> expected = run(*in_one, plan_of(tokens(1, 20), 0, 2));
  const auto in_two = make_state();
  run(*in_two, plan_of(tokens(1, 19), 0, 1));
  const std::vector<float> last = run(*in_two, plan_of({tokens(1, 20)[19]}, 19, 1));
  EXPECT_THAT(last, near({expected.end() - 64, expected.end()}));
}

TEST_P(PjrtKvStateContract, ArraysStayWhereTheyAre) {
  auto state = make_state();
  auto& devices = dynamic_cast<pjrt::PjrtKvState&>(*state).devices();
  ASSERT_EQ(std::ssize(devices), GetParam().devices());
  const auto addresses = [&devices] {
    std::vector<uintptr_t> all;
    for (const auto& arrays : devices) {
      for (const pjrt::Buffer& array : arrays) all.push_back(*array.address());
    }
    return all;
  };
  const std::vector<uintptr_t> before = addresses();
  run(*state, plan_of(tokens(1, 10), 0, 0));
  for (int32_t i = 10; i < 16; ++i) run(*state, plan_of({3}, i, 0));
  EXPECT_EQ(addresses(), before);
}

TEST_P(PjrtKvStateContract, NothingIsCompiledOnceEveryBucketWasMet) {
  const auto state = make_state();
  run(*state, plan_of(tokens(1, 10), 0, 0));
  run(*state, plan_of({3}, 10, 0));
  const int64_t compilations = executable_->programs().compiled;
  for (int32_t i = 11; i < 30; ++i) run(*state, plan_of({3}, i, 0));
  run(*state, plan_of(tokens(1, 13), 30, 0));
  EXPECT_EQ(executable_->programs().compiled, compilations);
}

TEST_P(PjrtKvStateContract, StatesOfOneExecutableAreApart) {
  const auto first = make_state();
  const auto second = make_state();
  run(*first, plan_of(tokens(1, 10), 0, 0));
  run(*second, plan_of(tokens(9, 10), 0, 0));
  const auto alone = make_state();
  run(*alone, plan_of(tokens(1, 10), 0, 0));
  EXPECT_EQ(run(*first, plan_of({5}, 10, 0)), run(*alone, plan_of({5}, 10, 0)));
}

TEST_P(PjrtKvStateContract, PaddingWritesNothing) {
  const auto state = make_state();
  run(*state, plan_of(tokens(1, 10), 0, 0));
  run(*state, plan_of(tokens(7, 10), 0, 1));
  run(*state, plan_of({4}, 10, 2));            // slots 0 and 1 are padding of the same launch
  run(*state, plan_of(tokens(2, 17), 47, 2));  // 24 rows that reach the end of the slot
  const auto alone = make_state();
  run(*alone, plan_of(tokens(7, 10), 0, 1));
  EXPECT_EQ(run(*state, plan_of({5}, 10, 1)), run(*alone, plan_of({5}, 10, 1)));
}

TEST_P(PjrtKvStateContract, RowsThatSkipPositionsAreWrittenWhereTheyBelong) {
  const auto state = make_state();
  run(*state, plan_of(tokens(30, 12), 0, 1));
  StepPlan skipping = plan_of(tokens(2, 3), 2, 1);
  skipping.positions = {2, 5, 9};
  skipping.lengths = {12};
  run(*state, skipping);
  std::vector<int32_t> mixed = tokens(30, 12);
  mixed[2] = tokens(2, 3)[0];
  mixed[5] = tokens(2, 3)[1];
  mixed[9] = tokens(2, 3)[2];
  const auto whole = make_state();
  run(*whole, plan_of(mixed, 0, 1));
  EXPECT_EQ(run(*state, plan_of({5}, 12, 1)), run(*whole, plan_of({5}, 12, 1)));
}

// On a mesh whose `data` is 2, slot 1 is on other devices than slots 0 and 2.
TEST_P(PjrtKvStateContract, MovesCopyAPageBeforeTheFirstWrite) {
  for (const int32_t slot : {1, 2}) {
    const auto state = make_state();
    run(*state, plan_of(tokens(1, 10), 0, 0));
    run(*state, plan_of(tokens(20, 10), 0, 3 - slot));  // stays as it is
    StepPlan fork;
    fork.segments = {{2, 1, RowClass::generated}};
    fork.tokens = {11, 22};
    fork.positions = {10, 10};
    fork.tables = {{{0, 1, 2}, {0, slot * kPagesPerSlot}}};
    fork.moves = {{0, 0, slot * kPagesPerSlot}};
    const std::vector<float> both = run(*state, fork);
    for (const size_t branch : {0u, 1u}) {
      const auto alone = make_state();
      run(*alone, plan_of(tokens(1, 10), 0, 0));
      const auto first = both.begin() + static_cast<std::ptrdiff_t>(branch) * 64;
      EXPECT_THAT(run(*alone, plan_of({fork.tokens[branch]}, 10, 0)), near({first, first + 64}));
    }
    const auto other = make_state();
    run(*other, plan_of(tokens(20, 10), 0, 3 - slot));
    EXPECT_EQ(run(*state, plan_of({5}, 10, 3 - slot)), run(*other, plan_of({5}, 10, 3 - slot)));
  }
}

TEST_P(PjrtKvStateContract, LengthsTellFullAttentionHowFarTheSequenceReaches) {
  const auto state = make_state();
  run(*state, plan_of(tokens(1, 14), 0, 1));
  StepPlan inside = plan_of(tokens(20, 4), 4, 1);
  inside.lengths = {14};
  const std::vector<float> seen = run(*state, inside);
  inside.lengths = {8};
  EXPECT_NE(run(*state, inside), seen);
  std::vector<int32_t> canvas = tokens(1, 14);
  std::copy_n(tokens(20, 4).begin(), 4, canvas.begin() + 4);
  const auto whole = make_state();
  const std::vector<float> rows = run(*whole, plan_of(canvas, 0, 1));
  EXPECT_THAT(seen, near({rows.begin() + 4 * 64, rows.begin() + 8 * 64}));
}

TEST_P(PjrtKvStateContract, MissingPagesAreNotSeen) {
  compile(MaskKind::causal);
  const auto state = make_state();
  run(*state, plan_of(tokens(1, 20), 0, 0));
  run(*state, plan_of(tokens(1, 20), 20, 0));
  const std::vector<float> all = run(*state, plan_of({5}, 40, 0));
  const std::vector<float> without = run(*state, plan_of({5}, 40, 0, {1}));
  EXPECT_NE(all, without);
  // Whatever the evicted page held.
  const auto other = make_state();
  std::vector<int32_t> first = tokens(1, 20);
  std::fill(first.begin() + 16, first.end(), 0);
  std::vector<int32_t> second = tokens(1, 20);
  std::fill(second.begin(), second.begin() + 12, 0);
  run(*other, plan_of(first, 0, 0));
  run(*other, plan_of(second, 20, 0));
  EXPECT_EQ(run(*other, plan_of({5}, 40, 0, {1})), without);
}

// Probabilities of 0 make no number of what an earlier sequence left behind in the slot.
TEST_P(PjrtKvStateContract, WhatIsNoNumberIsNotLeftToOthers) {
  for (const int64_t window : {0, 40}) {
    if (window > 0 && GetParam().devices() > 1) continue;
    compile(MaskKind::causal, /*with_nan=*/true, window);
    const auto state = make_state();
    run(*state, plan_of(tokens(7, 5), 0, 2));  // stays as it is
    std::vector<int32_t> bad = tokens(1, 12);
    bad[9] = kNanToken;
    EXPECT_TRUE(std::isnan(run(*state, plan_of(bad, 0, 1)).back()));
    const auto alone = make_state();
    EXPECT_EQ(run(*state, plan_of(tokens(2, 6), 0, 1)), run(*alone, plan_of(tokens(2, 6), 0, 1)));
    EXPECT_EQ(run(*state, plan_of({5}, 6, 1)), run(*alone, plan_of({5}, 6, 1)));
    // More of the same sequence, which is then cut to what it was before.
    std::vector<int32_t> more = tokens(2, 4);
    more[2] = kNanToken;
    run(*state, plan_of(more, 7, 1));
    EXPECT_EQ(run(*state, plan_of({8}, 7, 1)), run(*alone, plan_of({8}, 7, 1)));
    run(*alone, plan_of(tokens(7, 5), 0, 2));
    EXPECT_EQ(run(*state, plan_of(tokens(9, 3), 5, 2)), run(*alone, plan_of(tokens(9, 3), 5, 2)));
  }
}

// Two prompts and a token in one step: on parts of a batch they are computed side by side.
TEST_P(PjrtKvStateContract, SequencesOfAStepDoNotSeeEachOther) {
  const auto state = make_state();
  run(*state, plan_of(tokens(4, 9), 0, 2));
  StepPlan step;
  step.segments = {
      {1, 1, RowClass::generated}, {1, 12, RowClass::prompt}, {1, 7, RowClass::prompt}};
  step.tables.resize(1);
  step.tables[0].first.push_back(0);
  const std::vector<StepPlan> each = {plan_of({8}, 9, 2), plan_of(tokens(1, 12), 0, 0),
                                      plan_of(tokens(2, 7), 0, 1)};
  for (const StepPlan& plan : each) {
    step.tokens.insert(step.tokens.end(), plan.tokens.begin(), plan.tokens.end());
    step.positions.insert(step.positions.end(), plan.positions.begin(), plan.positions.end());
    KvTable& table = step.tables[0];
    table.pages.insert(table.pages.end(), plan.tables[0].pages.begin(), plan.tables[0].pages.end());
    table.first.push_back(static_cast<int32_t>(table.pages.size()));
  }
  std::vector<float> rows = run(*state, step);
  const auto alone = make_state();
  run(*alone, plan_of(tokens(4, 9), 0, 2));
  for (const StepPlan& plan : each) {
    const auto size = static_cast<std::ptrdiff_t>(64 * plan.tokens.size());
    EXPECT_THAT(run(*alone, plan), near({rows.begin(), rows.begin() + size}));
    rows.erase(rows.begin(), rows.begin() + size);
  }
}

// Places 6, 7, 0 and 1 of the second of two slots.
TEST(PlaceClear, GoesAroundTheEnd) {
  DUNLIN_NEEDS_PLUGIN();
  const auto client = pjrt::test_client(1);
  const pjrt::TensorType type{pjrt::Element::f32, {2, 1, 8, 2}};
  const pjrt::LoweringOptions options;
  const auto program = client->compile(pjrt::lower_place_clear({type}, options), {});
  ASSERT_TRUE(program.ok()) << program.error().message;
  const std::vector<float> ones(2 * 8 * 2, 1.0f);
  const auto array = client->upload(type, std::as_bytes(std::span(ones)), 0);
  ASSERT_TRUE(array.ok()) << array.error().message;
  const std::vector<int32_t> numbers = {1, 6, 4, 1};
  const auto list = client->upload({pjrt::Element::i32, {pjrt::kPlaceClearNumbers}},
                                   std::as_bytes(std::span(numbers)), 0);
  ASSERT_TRUE(list.ok()) << list.error().message;
  const auto results = (*program)->execute({{array->id(), list->id()}});
  ASSERT_TRUE(results.ok()) << results.error().message;
  std::vector<float> values(ones.size());
  const auto copied =
      results->front().front().download(type, std::as_writable_bytes(std::span(values)));
  ASSERT_TRUE(copied.ok()) << copied.error().message;
  std::vector<float> expected = ones;
  for (const size_t place : {6u, 7u, 0u, 1u}) {
    expected[16 + 2 * place] = 0.0f;
    expected[16 + 2 * place + 1] = 0.0f;
  }
  EXPECT_EQ(values, expected);
}

const auto mesh_name = [](const auto& parameter) {
  std::string name = to_string(parameter.param);
  std::erase(name, '=');
  std::ranges::replace(name, ',', '_');
  return name;
};
INSTANTIATE_TEST_SUITE_P(Meshes, PjrtKvStateContract,
                         testing::Values(MeshShape{}, MeshShape{.data = 2}, MeshShape{.model = 2},
                                         MeshShape{.data = 2, .model = 2}),
                         mesh_name);

}  // namespace
}  // namespace dunlin
