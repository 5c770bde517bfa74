// What an executable notes of its steps while it is recorded.
#include "backend/profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/select.h"
#include "backend/watch.h"
#include "tiny_model.h"

namespace dunlin {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::Not;
using testing::SizeIs;

constexpr size_t kRoom = 4096;  // events

// One recorded step of one generated row behind a prompt of 40.
class RecordedRow {
 public:
  RecordedRow(const TinyModel& model, Precision precision)
      : session_(*backend_, model, tiny_options(precision)) {
    session_.step({{0, 40, RowClass::prompt}});
    EXPECT_TRUE(session_.executable().record(&profile_).ok());
    session_.step({{0, 1, RowClass::generated}});
  }

  Executable& executable() { return session_.executable(); }
  const Profile& profile() const { return profile_; }

  // Events of the steps whose operation, with its rewrites, begins so.
  std::vector<ProfileEvent> of(const std::string& operation) const {
    std::vector<ProfileEvent> found;
    for (const ProfileEvent& event : profile_.events()) {
      const ProfiledStep& step = profile_.steps()[static_cast<size_t>(event.step)];
      if (step.operation.starts_with(operation)) found.push_back(event);
    }
    return found;
  }

 private:
  std::unique_ptr<Backend> backend_ = make_cpu_backend();
  TinySession session_;
  Profile profile_{kRoom};
};

TEST(Profile, EveryNodeThatIsNoViewBelongsToOneStep) {
  const TinyModel model = tiny_model("gpt_oss", "mixed", {.logits_view_k = 9});
  const RecordedRow recorded(model, Precision::automatic);
  std::vector<std::string> nodes;
  for (const ProfiledStep& step : recorded.profile().steps()) {
    EXPECT_FALSE(step.operation.empty());
    EXPECT_FALSE(step.kernels.empty()) << step.operation;
    EXPECT_THAT(step.nodes, Contains(step.name));
    nodes.insert(nodes.end(), step.nodes.begin(), step.nodes.end());
  }
  std::vector<std::string> wanted;
  for (const Node& node : model.program.nodes) {
    if (cpu::select_runner(model.program, node) != cpu::Runner::view) wanted.push_back(node.name);
  }
  std::ranges::sort(nodes);
  std::ranges::sort(wanted);
  EXPECT_EQ(nodes, wanted);
}

TEST(Profile, StepsNameTheirRewritesAndWeights) {
  const RecordedRow recorded(tiny_model("llama", "BF16"), Precision::automatic);
  std::vector<std::string> weights;
  std::vector<std::string> of_attention;
  for (const ProfiledStep& step : recorded.profile().steps()) {
    if (step.operation.starts_with("linear+shared_input+input_norm")) {
      // Those of q, k, v and their norm, and in the first layer the embedding.
      const size_t parts = of_attention.empty() ? 5 : 4;
      of_attention.push_back(step.operation);
      EXPECT_THAT(step.weights, SizeIs(parts));
      EXPECT_THAT(step.nodes, SizeIs(parts));
    }
    weights.insert(weights.end(), step.weights.begin(), step.weights.end());
  }
  EXPECT_THAT(of_attention, ElementsAre("linear+shared_input+input_norm+embed_norm",
                                        "linear+shared_input+input_norm"));
  for (const char* name :
       {"model.embed_tokens.weight", "model.layers.1.self_attn.k_proj.weight",
        "model.layers.0.mlp.down_proj.weight", "model.layers.1.input_layernorm.weight"}) {
    EXPECT_THAT(weights, Contains(name));
  }
}

TEST(Profile, StepsFollowEachOtherWithinTheirRun) {
  const auto backend = make_cpu_backend();
  TinySession session(*backend, tiny_model("llama", "mixed"),
                      tiny_options(Precision::automatic, /*threads=*/2));
  Profile profile(kRoom);
  ASSERT_TRUE(session.executable().record(&profile).ok());
  session.step({{0, 300, RowClass::prompt}});
  session.step({{0, 1, RowClass::generated}, {1, 2, RowClass::prompt}});
  ASSERT_EQ(profile.runs().size(), 2u);
  EXPECT_EQ(profile.runs()[0].rows, 300);
  EXPECT_FALSE(profile.runs()[0].generated);
  EXPECT_EQ(profile.runs()[1].rows, 3);
  EXPECT_TRUE(profile.runs()[1].prompt);
  EXPECT_TRUE(profile.runs()[1].generated);
  EXPECT_LE(profile.runs()[0].end_ns, profile.runs()[1].begin_ns);

  std::vector<int32_t> steps[2];
  int others = 0;
  ProfileEvent whole;
  for (const ProfileEvent& event : profile.events()) {
    const ProfiledRun& run = profile.runs()[static_cast<size_t>(event.run)];
    EXPECT_LE(event.begin_ns, event.end_ns);
    EXPECT_LE(event.busy_ns, event.end_ns - event.begin_ns);
    if (event.worker == 0) {
      EXPECT_GE(event.begin_ns, std::max(run.begin_ns, whole.end_ns));
      EXPECT_LE(event.end_ns, run.end_ns);
      steps[event.run].push_back(event.step);
      whole = event;
    } else {
      // Behind the whole step's own event, and within it.
      EXPECT_EQ(event.worker, 1);
      EXPECT_EQ(event.step, whole.step);
      EXPECT_GE(event.begin_ns, whole.begin_ns);
      EXPECT_LE(event.end_ns, whole.end_ns);
      EXPECT_EQ(event.bytes, 0);
      ++others;
    }
  }
  EXPECT_GT(others, 0);
  std::vector<int32_t> all;
  for (size_t i = 0; i < profile.steps().size(); ++i) all.push_back(static_cast<int32_t>(i));
  EXPECT_EQ(steps[0], all);
  EXPECT_EQ(steps[1], all);
  EXPECT_EQ(profile.lost_runs(), 0);
}

TEST(Profile, LinearStepsReadTheirWeightsAsTheyAreHeld) {
  RecordedRow recorded(tiny_model("llama", "F32"), Precision::automatic);
  double bytes = 0;
  double flops = 0;
  for (const ProfileEvent& event : recorded.of("linear")) {
    bytes += event.bytes;
    flops += event.flops;
  }
  // Of each layer q and o [256,256], k and v [64,256], gate, up and down of 512 x 256.
  const double layer = 2 * 256 * 256 + 2 * 64 * 256 + 3 * 512 * 256;
  EXPECT_EQ(flops, 2 * (2 * layer + 300 * 256));
  // 300 rows of the head fill 19 stripes of 16; a row of the embedding is gathered.
  EXPECT_EQ(bytes, 4 * (2 * layer + 304 * 256 + 256));
  EXPECT_LE(bytes, static_cast<double>(recorded.executable().weights_bytes()));
}

TEST(Profile, AttentionReadsWhatItsRowsSee) {
  const RecordedRow recorded(tiny_model("gpt_oss", "BF16"), Precision::automatic);
  const auto attention = recorded.of("attention");
  ASSERT_THAT(attention, SizeIs(2));
  // Two kv heads of 32 dimensions, keys and values in bf16; the first layer has a window of 24.
  constexpr double kPosition = 2 * 2 * 32 * 2;
  EXPECT_EQ(attention[0].bytes, 24 * kPosition);
  EXPECT_EQ(attention[1].bytes, 41 * kPosition);
  EXPECT_EQ(attention[0].flops, 4.0 * 8 * 32 * 24);
  EXPECT_EQ(attention[1].flops, 4.0 * 8 * 32 * 41);
}

TEST(Profile, APromptReadsKeysOnceAndSeesATriangle) {
  const auto backend = make_cpu_backend();
  TinySession session(*backend, tiny_model("llama", "BF16"), tiny_options(Precision::automatic));
  Profile profile(kRoom);
  ASSERT_TRUE(session.executable().record(&profile).ok());
  session.step({{0, 40, RowClass::prompt}});
  for (const ProfileEvent& event : profile.events()) {
    const ProfiledStep& step = profile.steps()[static_cast<size_t>(event.step)];
    if (!step.operation.starts_with("attention")) continue;
    EXPECT_EQ(event.bytes, 40.0 * 2 * 2 * 32 * 2);
    EXPECT_EQ(event.flops, 4.0 * 8 * 32 * (40 * 41 / 2));
  }
}

TEST(Profile, OfAMixtureTheChosenExpertsAreRead) {
  const RecordedRow recorded(tiny_model("gpt_oss", "BF16"), Precision::automatic);
  const auto experts = recorded.of("experts");
  ASSERT_THAT(experts, SizeIs(2));
  constexpr double kExpert = 3 * 256 * 256;  // elements
  EXPECT_EQ(experts[0].bytes, 4 * kExpert * 2);
  EXPECT_EQ(experts[0].flops, 4 * kExpert * 2);
  const auto route = recorded.of("route");
  ASSERT_THAT(route, SizeIs(2));
  EXPECT_EQ(route[0].flops, 2.0 * 6 * 256);
}

TEST(Profile, StepsWithoutWeightsMoveTheirOperandsAndResults) {
  // Routers and experts read one norm.
  const RecordedRow recorded(tiny_model("gpt_oss", "BF16"), Precision::automatic);
  const auto norms = recorded.of("rms_norm");
  ASSERT_FALSE(norms.empty());
  EXPECT_EQ(norms[0].bytes, 2 * 256 * 4);
  EXPECT_EQ(norms[0].flops, 0);
}

TEST(Profile, RecordingChangesNoBit) {
  const auto backend = make_cpu_backend();
  const TinyModel model = tiny_model("gpt_oss", "mixed");
  const CompileOptions options = tiny_options(Precision::automatic, 2);
  TinySession plain(*backend, model, options);
  TinySession recorded(*backend, model, options);
  Profile profile(kRoom);
  ASSERT_TRUE(recorded.executable().record(&profile).ok());
  EXPECT_EQ(prompt_and_decode(recorded, 0, 60, 32, 5), prompt_and_decode(plain, 0, 60, 32, 5));
}

TEST(Profile, NothingIsNotedAfterwards) {
  const auto backend = make_cpu_backend();
  TinySession session(*backend, tiny_model("llama", "BF16"), tiny_options(Precision::automatic, 2));
  Profile profile(kRoom);
  ASSERT_TRUE(session.executable().record(&profile).ok());
  session.step({{0, 4, RowClass::prompt}});
  ASSERT_TRUE(session.executable().record(nullptr).ok());
  const size_t events = profile.events().size();
  session.step({{0, 4, RowClass::prompt}});
  EXPECT_EQ(profile.runs().size(), 1u);
  EXPECT_EQ(profile.events().size(), events);
  profile.clear();
  EXPECT_TRUE(profile.runs().empty());
  EXPECT_THAT(profile.steps(), Not(testing::IsEmpty()));
}

TEST(Profile, ARunThatDoesNotFitIsCountedAndLeftOutWhole) {
  const auto backend = make_cpu_backend();
  TinySession session(*backend, tiny_model("llama", "BF16"), tiny_options(Precision::automatic));
  Profile first(kRoom);
  ASSERT_TRUE(session.executable().record(&first).ok());
  session.step({{0, 4, RowClass::prompt}});
  const size_t steps = first.steps().size();
  Profile small(steps + steps / 2);
  ASSERT_TRUE(session.executable().record(&small).ok());
  for (int i = 0; i < 3; ++i) session.step({{0, 1, RowClass::generated}});
  EXPECT_EQ(small.runs().size(), 1u);
  EXPECT_EQ(small.events().size(), steps);
  EXPECT_EQ(small.lost_runs(), 2);
}

TEST(Profile, AWatchedExecutableTellsItsSteps) {
  const auto backend = make_cpu_backend();
  const TinyModel model = tiny_model("llama", "BF16");
  auto compiled =
      backend->compile(model.program, model.weights, tiny_options(Precision::automatic));
  ASSERT_TRUE(compiled.ok());
  const auto watched = Watch::create({})->wrap(*std::move(compiled));
  Profile profile(kRoom);
  ASSERT_TRUE(watched->record(&profile).ok());
  EXPECT_FALSE(profile.steps().empty());
}

}  // namespace
}  // namespace dunlin
