// What is put to zero in a slot, and when: places where another sequence left what may be no number, but
// none of the sequence's own, in rings of windows, too.
#include <gmock/gmock.h>
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
#include "backend/pjrt/kv_state.h"
#include "base/byte_source.h"
#include "case_runner.h"
#include "pjrt_device.h"
#include "program/ops.h"

namespace dunlin::pjrt {
namespace {

LaunchPlanner::Holding rows_at(int32_t first, int32_t rows) {
  return {.rows = rows, .first = first, .length = first + rows, .longest = first + rows};
}

TEST(DoubtfulPlaces, WithoutAWindowAreThoseBehindTheSequence) {
  EXPECT_EQ(doubtful_places(rows_at(0, 6), 12, 64, 0), (PlaceRange{6, 6}));
  EXPECT_EQ(doubtful_places(rows_at(5, 1), 6, 64, 0), (PlaceRange{6, 0}));
  EXPECT_EQ(doubtful_places(rows_at(60, 4), 64, 64, 0), (PlaceRange{0, 0}));
  EXPECT_EQ(doubtful_places(rows_at(10, 1), PjrtKvState::kAnywhere, 64, 0), (PlaceRange{11, 53}));
}

// Of a window of 16: a step from position 30 on sees 15 and later, and page 0 is still there; one from
// 40 on sees 25 and later, from page 1 on.
TEST(DoubtfulPlaces, NeverReachThePagesOfAWindow) {
  EXPECT_EQ(doubtful_places(rows_at(30, 1), 38, 64, 16), (PlaceRange{31, 7}));
  EXPECT_EQ(doubtful_places(rows_at(30, 1), 500, 64, 16), (PlaceRange{31, 33}));
  EXPECT_EQ(doubtful_places(rows_at(40, 1), PjrtKvState::kAnywhere, 64, 16), (PlaceRange{41, 39}));
  // Around the end: positions 81 to 99 are in places 17 to 35.
  EXPECT_EQ(doubtful_places(rows_at(80, 1), 100, 64, 16), (PlaceRange{17, 19}));
  // Nothing of a sequence that only begins.
  EXPECT_EQ(doubtful_places(rows_at(0, 6), 300, 64, 16), (PlaceRange{6, 58}));
}

constexpr int64_t kWords = 40;
constexpr int32_t kBadWord = 39;  // whose value is no number; words() has no use for it
constexpr int32_t kWindow = 16;
constexpr int32_t kPagesOfRing = 4;
constexpr StepLimits kRingLimits{.rows = 24, .logit_rows = 2, .sequences = 2, .context = 128};

// A layer with a window, and logits of what it gives.
Program ring_program() {
  auto program = record("ring", {}, [](Recorder& r) {
    const AxisList vocabulary = {{Axis::vocab, kWords}};
    const auto input = [&](const std::string& name, int64_t heads) {
      const WeightScope inputs = r.weights().scope("inputs");
      const Tensor table = inputs.matrix(name, vocabulary, {{Axis::embed, heads * 16}});
      return reshape(embed(r.tokens(), table), {Symbol::rows, heads, 16});
    };
    const Recorder::KvLayer place = r.kv_layer(kWindow, 2, 16);
    AttentionAttributes attributes;
    attributes.window = kWindow;
    attributes.group = place.group;
    attributes.layer = place.layer;
    const Tensor y = attention(input("q", 4), input("k", 2), input("v", 2), {}, attributes);
    const Tensor rows = reshape(y, {Symbol::rows, 64});
    r.output("result", rows);
    const Tensor head = r.weights().matrix("head", vocabulary, {{Axis::embed, 64}});
    const Tensor logits = linear(gather_rows(rows, r.logit_rows()), head);
    r.output(kLogitsOutput, logits);
    const LogitsViewTensors view = logits_view(logits, r.temperatures(), 4);
    r.output(kStatisticsOutput, view.statistics);
    r.output(kCandidateIdsOutput, view.ids);
    r.output(kCandidateLogitsOutput, view.logits);
  });
  EXPECT_TRUE(program.ok()) << program.error().message;
  return std::move(program).value();
}

WeightSource with_bad_word(const Program& program) {
  const WeightSource plain = case_weights(program, Format::f32);
  return [plain](const std::string& name) -> Result<WeightView> {
    DUNLIN_ASSIGN_OR_RETURN(WeightView view, plain(name));
    if (name != "inputs.v") return view;
    const size_t row = static_cast<size_t>(view.columns) * sizeof(float);
    std::vector<std::byte> bytes(static_cast<size_t>(view.rows) * row);
    DUNLIN_RETURN_IF_ERROR(view.read_rows(0, view.rows, bytes));
    const std::vector<float> bad(static_cast<size_t>(view.columns),
                                 std::numeric_limits<float>::quiet_NaN());
    std::memcpy(bytes.data() + size_t{kBadWord} * row, bad.data(), row);
    view.source = memory_source(std::move(bytes), name);
    return view;
  };
}

std::vector<int32_t> words(int32_t first, int32_t count) {
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < count; ++i) ids.push_back((first + 5 * i) % kBadWord);
  return ids;
}

std::vector<int32_t> bad_words(int32_t first, int32_t count, size_t bad) {
  std::vector<int32_t> ids = words(first, count);
  ids[bad] = kBadWord;
  return ids;
}

// Rows from position `first` on of the sequence in `slot`, with the pages that a KvCache would have, and
// nobody asks for logits.
StepPlan ring_step(const std::vector<int32_t>& ids, int32_t first, int32_t slot) {
  StepPlan plan;
  const auto rows = static_cast<int32_t>(ids.size());
  plan.segments = {{1, rows, RowClass::prompt}};
  plan.tokens = ids;
  for (int32_t i = 0; i < rows; ++i) plan.positions.push_back(first + i);
  const int32_t oldest = std::max(0, first - kWindow + 1) / kPageTokens;
  KvTable table;
  for (int32_t page = 0; page * kPageTokens < first + rows; ++page)
    table.pages.push_back(page < oldest ? -1 : slot * kPagesOfRing + page % kPagesOfRing);
  table.first = {0, static_cast<int32_t>(table.pages.size())};
  plan.tables = {table};
  return plan;
}

class DoubtfulSlots : public testing::Test {
 protected:
  void SetUp() override {
    DUNLIN_NEEDS_PLUGIN();
    program_ = ring_program();
    CompileOptions options;
    options.precision = Precision::f32;
    options.limits = kRingLimits;
    auto executable =
        PjrtExecutable::create(test_client(), program_, with_bad_word(program_), options);
    ASSERT_TRUE(executable.ok()) << executable.error().message;
    executable_ = std::move(executable).value();
    ASSERT_EQ(executable_->pages_per_slot(0), kPagesOfRing);
    state_ = make_state();
  }

  std::unique_ptr<KvState> make_state() {
    auto state = executable_->make_kv_state({kRingLimits.sequences * kPagesOfRing});
    EXPECT_TRUE(state.ok()) << state.error().message;
    return std::move(state).value();
  }

  // What the last row gives.
  std::vector<float> run(KvState& state, const StepPlan& plan) {
    const auto valid = validate(plan, program_, kRingLimits, state);
    EXPECT_TRUE(valid.ok()) << valid.error().message;
    StepOutput output;
    executable_->run(plan, state, output);
    EXPECT_FALSE(output.failure.has_value()) << output.failure->message;
    const View& view = output.taps.front().view;
    const int64_t size = element_count(view.shape);
    return {view.f32() + size - 64, view.f32() + size};
  }

  // The first 40 words of a good sequence, of which `length` are computed.
  void begin(KvState& state, int32_t length, int32_t slot) {
    const std::vector<int32_t> all = words(1, 40);
    for (int32_t first = 0; first < length; first += 20) {
      const int32_t end = std::min(first + 20, length);
      run(state, ring_step({all.begin() + first, all.begin() + end}, first, slot));
    }
  }

  static auto near(const std::vector<float>& values) {
    return testing::Pointwise(testing::FloatNear(1e-5f), values);
  }
  int64_t compiled() const { return executable_->programs().compiled; }

  Program program_;
  std::unique_ptr<PjrtExecutable> executable_;
  std::unique_ptr<KvState> state_;
};

// A session that goes on with a word that is no number, is cut back to where it was, and then to where
// it was before: its first pages are still there.
TEST_F(DoubtfulSlots, ASequenceThatIsCutBackTwiceHasItsWindow) {
  begin(*state_, 30, 0);
  EXPECT_TRUE(std::isnan(run(*state_, ring_step(bad_words(3, 8, 5), 30, 0)).front()));
  const auto alone = make_state();
  begin(*alone, 30, 0);
  EXPECT_THAT(run(*state_, ring_step({7}, 30, 0)), near(run(*alone, ring_step({7}, 30, 0))));
  EXPECT_THAT(run(*state_, ring_step({8}, 20, 0)), near(run(*alone, ring_step({8}, 20, 0))));
}

// Of a fork the pages of the window are copied: the slot's other places are what they were.
TEST_F(DoubtfulSlots, AForkIsClearedAroundItsPages) {
  EXPECT_TRUE(std::isnan(run(*state_, ring_step(bad_words(2, 10, 5), 0, 1)).front()));
  begin(*state_, 40, 0);
  StepPlan fork = ring_step({9}, 40, 1);
  fork.moves = {{0, 1, kPagesOfRing + 1}, {0, 2, kPagesOfRing + 2}};
  const auto alone = make_state();
  begin(*alone, 40, 0);
  EXPECT_THAT(run(*state_, fork), near(run(*alone, ring_step({9}, 40, 0))));
  EXPECT_THAT(run(*state_, ring_step({10}, 41, 1)), near(run(*alone, ring_step({10}, 41, 0))));
}

// What nobody asked for tells that a part of a prompt is numbers: nothing is put to zero, and the
// program that would is not compiled. Where it is no number, it is once.
TEST_F(DoubtfulSlots, AreThoseWhoseLastRowIsNoNumber) {
  run(*state_, ring_step(words(4, 20), 0, 0));
  const std::vector<float> expected = run(*state_, ring_step(words(6, 6), 0, 1));
  const int64_t before = compiled();
  EXPECT_THAT(run(*state_, ring_step(words(6, 6), 0, 0)), near(expected));
  EXPECT_EQ(compiled(), before);
  for (const size_t bad : {3u, 19u}) {
    run(*state_, ring_step(bad_words(4, 20, bad), 0, 0));
    EXPECT_THAT(run(*state_, ring_step(words(6, 6), 0, 0)), near(expected));
    EXPECT_EQ(compiled(), before + 1);
  }
}

// Asked for are logits of a row that need not have seen the last one.
TEST_F(DoubtfulSlots, AnEarlierRowDoesNotTellOfTheLast) {
  StepPlan plan = ring_step(words(4, 20), 0, 0);
  plan.logit_rows = {3};
  run(*state_, plan);
  plan.logit_rows = {3, 19};
  run(*state_, plan);
  run(*state_, ring_step(words(6, 6), 0, 0));
  const int64_t before = compiled();
  plan.logit_rows = {3};
  run(*state_, plan);
  run(*state_, ring_step(words(6, 6), 0, 0));
  EXPECT_EQ(compiled(), before + 1);
}

}  // namespace
}  // namespace dunlin::pjrt
