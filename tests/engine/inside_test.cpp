// Looking inside a loaded model: optimisations that are left out, nodes that are watched.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "backend/watch.h"
#include "engine/optimizations.h"
#include "engine/sequence_runner.h"
#include "engine_driver.h"

namespace dunlin {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kModel = "llama_plain";

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const Optimization& each : all_optimizations()) all.push_back(each.name);
  return all;
}

TEST(Optimizations, AreOneList) {
  const auto all = names();
  EXPECT_EQ(std::set(all.begin(), all.end()).size(), all.size());
  EXPECT_THAT(all, testing::IsSupersetOf({"residual_add", "simd_attention", "prefix_reuse"}));
  EXPECT_TRUE(check_optimizations(all).ok());
  const auto unknown = check_optimizations({"residual_add", "residual_ad"});
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().kind, ErrorKind::usage);
  EXPECT_THAT(unknown.error().message, HasSubstr("\"residual_ad\""));
  EXPECT_THAT(unknown.error().message, HasSubstr("rope_attention"));
}

TEST(Optimizations, ChangeNoTokenWhenTheyAreLeftOut) {
  for (const char* backend : {"cpu", "reference"}) {
    const auto answers = [backend](const std::vector<std::string>& disabled) {
      EngineDriver driver(kModel, {.backend = backend,
                                   .threads = 2,
                                   .context = 128,
                                   .sequences = 2,
                                   .rows = 16,
                                   .disabled = disabled});
      std::vector<std::vector<int32_t>> ids;
      for (uint32_t i = 0; i < 3; ++i)
        ids.push_back(driver.answer(sampled(random_prompt(40, 5), 12, i)).ids);
      return ids;
    };
    EXPECT_EQ(answers(names()), answers({})) << backend;
  }
}

TEST(Optimizations, PrefixReuseCanBeLeftOut) {
  const auto cached = [](const std::vector<std::string>& disabled) {
    EngineDriver driver(kModel, {.context = 128, .disabled = disabled});
    driver.answer(greedy(random_prompt(40, 5), 4));
    return driver.answer(greedy(random_prompt(40, 5), 4)).stats.cached_tokens;
  };
  EXPECT_EQ(cached({}), 32);
  EXPECT_EQ(cached({"prefix_reuse"}), 0);
}

// What a watch reported.
struct Seen {
  std::vector<std::string> names;
  std::vector<int64_t> steps;
  std::vector<int64_t> rows;
  std::vector<double> absmax;
};

std::shared_ptr<Watch> watch(std::vector<std::string> patterns, const char* until, Seen& seen) {
  WatchOptions options{.patterns = std::move(patterns)};
  if (until != nullptr) options.until = WatchCondition::parse(until).value();
  options.on_step = [&seen](const Watch&, const WatchedStep& step) {
    seen.steps.push_back(step.number);
    seen.rows.push_back(step.rows);
    seen.names.clear();
    for (const WatchedRow& row : step.values) {
      seen.names.push_back(row.value->name);
      seen.absmax.push_back(row.statistics.absmax);
    }
  };
  return Watch::create(std::move(options));
}

TEST(Watch, LooksAtTheNodesAfterEveryStepAndChangesNothing) {
  for (const char* backend : {"cpu", "reference"}) {
    Seen seen;
    const auto prompt = random_prompt(20, 3);
    const auto watched = watch({"layers.1.*", "embed"}, nullptr, seen);
    EngineDriver driver(kModel, {.backend = backend, .context = 64, .rows = 16, .watch = watched});
    const Answer answer = driver.answer(greedy(prompt, 3));
    EngineDriver plain(kModel, {.backend = backend, .context = 64, .rows = 16});
    EXPECT_EQ(answer.ids, plain.answer(greedy(prompt, 3)).ids);
    EXPECT_THAT(seen.steps, ElementsAre(1, 2, 3, 4));
    EXPECT_THAT(seen.rows, ElementsAre(16, 4, 1, 1));
    EXPECT_EQ(seen.names.front(), "embed");
    EXPECT_THAT(seen.names, testing::IsSupersetOf({"layers.1.attend.q_proj",
                                                   "layers.1.feed_forward.gated", "layers.1.add"}));
    EXPECT_THAT(seen.absmax, testing::Each(testing::Gt(0.0)));
    EXPECT_FALSE(watched->hit().has_value());
  }
}

TEST(Watch, SaysWhichFusionsItPrevents) {
  Seen seen;
  const auto gated = watch({"layers.0.feed_forward.gate_proj"}, nullptr, seen);
  EngineDriver driver(kModel, {.watch = gated});
  EXPECT_THAT(gated->blocked(),
              ElementsAre(FusedNode{"gated_linears", "layers.0.feed_forward.gated"}));
  const auto harmless = watch({"layers.0.add"}, nullptr, seen);
  EngineDriver other(kModel, {.watch = harmless});
  EXPECT_THAT(harmless->blocked(), IsEmpty());
  const auto all = watch({"*"}, nullptr, seen);
  EngineDriver third(kModel, {.watch = all});
  EXPECT_GE(all->blocked().size(), 10u);
}

TEST(Watch, StopsLookingAtTheFirstHitAndNamesNodeAndLine) {
  Seen seen;
  const auto hit = watch({"layers.*"}, "absmax>0", seen);
  EngineDriver driver(kModel, {.context = 64, .rows = 16, .watch = hit});
  driver.answer(greedy(random_prompt(20, 3), 3));
  ASSERT_TRUE(hit->hit().has_value());
  EXPECT_EQ(hit->hit()->kind, ErrorKind::runtime);
  EXPECT_THAT(hit->hit()->message, HasSubstr("layers.0.rms_norm"));
  EXPECT_THAT(hit->hit()->message, HasSubstr("step 1"));
  EXPECT_THAT(hit->hit()->message, testing::ContainsRegex("src/models/llama.cpp:[0-9]+"));
  EXPECT_EQ(seen.names.size(), 1u);
  EXPECT_THAT(seen.steps, ElementsAre(1));
}

TEST(Watch, APatternWithoutANodeIsAUsageError) {
  Seen seen;
  const auto model =
      load_model(tiny_model_path(kModel), {.watch = watch({"layers.9.*"}, nullptr, seen)});
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.error().kind, ErrorKind::usage);
}

TEST(Watch, TapsOfTheModelStayWhatTheyWere) {
  Seen seen;
  const auto model =
      load_model(tiny_model_path(kModel), {.context = 16,
                                           .rows = 16,
                                           .taps = {"hidden.1"},
                                           .watch = watch({"layers.0.*"}, nullptr, seen)})
          .value();
  auto runner = SequenceRunner::create(*model).value();
  const std::vector<int32_t> tokens = {3, 4, 5};
  const StepOutput* output =
      runner.run(tokens, RowClass::prompt, SequenceRunner::LogitRows::last).value();
  ASSERT_EQ(output->taps.size(), 1u);
  EXPECT_EQ(output->taps[0].name, "hidden.1");
  EXPECT_GT(seen.names.size(), 5u);
}

TEST(NotWatching, CostsNothing) {
  // The same Program, steps and kernels as without any of this.
  const auto plain = load_model(tiny_model_path(kModel), {}).value();
  Seen seen;
  const auto watched =
      load_model(tiny_model_path(kModel), {.watch = watch({"embed"}, nullptr, seen)}).value();
  EXPECT_NE(content_hash(plain->program), content_hash(watched->program));
  const auto again = load_model(tiny_model_path(kModel), {}).value();
  EXPECT_EQ(content_hash(again->program), content_hash(plain->program));
  EXPECT_EQ(again->executable->kernels(), plain->executable->kernels());
  EXPECT_EQ(again->executable->workspace_bytes(), plain->executable->workspace_bytes());
}

}  // namespace
}  // namespace dunlin
