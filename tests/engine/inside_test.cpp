// Looking inside a loaded model: optimisations that are left out, nodes that are watched.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <span>
#include <utility>

#include "backend/watch.h"
#include "engine/optimizations.h"
#include "engine/sequence_runner.h"
#include "engine_driver.h"

namespace dunlin {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kWatchedModel = "llama_plain";

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const Optimization& each : all_optimizations()) all.push_back(each.name);
  return all;
}

TEST(Optimizations, AreOneList) {
  const auto all = names();
  EXPECT_EQ(std::set(all.begin(), all.end()).size(), all.size());
  EXPECT_THAT(all, testing::IsSupersetOf({"residual_add", "simd_attention", "prefix_reuse"}));
  EXPECT_THAT(all, testing::IsSupersetOf({"gqa", "moe-grouping", "kv-cache", "compiled"}));
  EXPECT_TRUE(check_optimizations(all).ok());
  // It changes results, so it is no part of the list; it can be named all the same.
  EXPECT_THAT(all, testing::Not(testing::Contains("precision")));
  EXPECT_TRUE(check_optimizations({"precision"}).ok());
  const auto unknown = check_optimizations({"residual_add", "residual_ad"});
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().kind, ErrorKind::usage);
  EXPECT_THAT(unknown.error().message, HasSubstr("\"residual_ad\""));
  EXPECT_THAT(unknown.error().message, HasSubstr("rope_attention"));
}

TEST(Optimizations, ChangeNoTokenWhenTheyAreLeftOut) {
  for (const char* backend : {"cpu", "reference"}) {
    const auto answers = [backend](const std::vector<std::string>& disabled) {
      EngineDriver driver(kWatchedModel, {.backend = backend,
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
    EngineDriver driver(kWatchedModel, {.context = 128, .disabled = disabled});
    driver.answer(greedy(random_prompt(40, 5), 4));
    return driver.answer(greedy(random_prompt(40, 5), 4)).stats.cached_tokens;
  };
  EXPECT_EQ(cached({}), 32);
  EXPECT_EQ(cached({"prefix_reuse"}), 0);
}

TEST(Optimizations, OfAMixtureChangeNoTokenWhenTheyAreLeftOut) {
  for (const char* model : {"gpt_oss_mxfp4", "gpt_oss_one_expert", "llama_defaults"}) {
    const auto answer = [model](const std::vector<std::string>& disabled) {
      EngineDriver driver(model, {.threads = 2, .context = 128, .rows = 16, .disabled = disabled});
      return driver.answer(sampled(random_prompt(30, 7), 12, 3)).ids;
    };
    const auto wanted = answer({});
    EXPECT_EQ(wanted.size(), 12u);
    for (const char* name : {"gqa", "moe-grouping", "kv-cache", "compiled"})
      EXPECT_EQ(answer({name}), wanted) << model << ' ' << name;
    EXPECT_EQ(answer({"gqa", "moe-grouping", "kv-cache"}), wanted) << model;
    EXPECT_EQ(answer(names()), wanted) << model;
  }
}

// A prompt of 30 in steps of 16 rows, then tokens one by one.
TEST(KvCacheOff, EveryTokenComputesTheWholeSequenceAgain) {
  const auto steps = [](const std::vector<std::string>& disabled) {
    EngineDriver driver("gpt_oss_mxfp4", {.context = 128, .rows = 16, .disabled = disabled});
    driver.answer(greedy(random_prompt(30, 7), 4));
    return driver.engine().stats().steps;
  };
  EXPECT_EQ(steps({}), 2 + 3);
  EXPECT_EQ(steps({"kv-cache"}), 2 + 3 * (2 + 1));
}

TEST(KvCacheOff, NothingIsKeptForASession) {
  const auto cached = [](const std::vector<std::string>& disabled) {
    EngineDriver driver(kWatchedModel, {.context = 128, .disabled = disabled});
    Request request = greedy(random_prompt(40, 5), 4);
    request.session = 1;
    driver.answer(request);
    const Answer again = driver.answer(request);
    EXPECT_EQ(again.ids.size(), 4u);
    return again.stats.cached_tokens;
  };
  EXPECT_GT(cached({"prefix_reuse"}), 0);
  EXPECT_EQ(cached({"kv-cache"}), 0);
}

// Four sequences with pages for two: preempted ones come to the same end.
TEST(KvCacheOff, SequencesThatWaitForPagesKeepTheirTokens) {
  const auto answers = [](const std::vector<std::string>& disabled) {
    EngineDriver driver(
        "gpt_oss_mxfp4",
        {.context = 64, .sequences = 4, .kv_tokens = 128, .rows = 16, .disabled = disabled});
    std::vector<std::shared_ptr<Answer>> all;
    for (uint32_t i = 0; i < 4; ++i)
      all.push_back(driver.submit(sampled(random_prompt(20 + i, i), 30, i)));
    driver.engine().run_until_idle();
    std::vector<std::vector<int32_t>> ids;
    for (const auto& each : all) ids.push_back(each->ids);
    return ids;
  };
  const auto wanted = answers({});
  for (const auto& ids : wanted) EXPECT_EQ(ids.size(), 30u);
  EXPECT_EQ(answers({"kv-cache"}), wanted);
}

TEST(CompiledOff, TheReferenceExecutorRuns) {
  const auto model =
      load_model(tiny_model_path(kWatchedModel), {.isa = "scalar", .disabled = {"compiled"}});
  EXPECT_EQ((*model)->options.backend, "reference");
  for (const auto& [operation, kernel] : (*model)->executable->kernels())
    EXPECT_EQ(kernel, operation + "_reference");
  // What belongs to another back end does not stand in its way.
  const auto on_device = load_model(tiny_model_path(kWatchedModel),
                                    {.backend = "pjrt", .device = "gpu", .disabled = {"compiled"}});
  EXPECT_TRUE(on_device.ok());
}

TEST(PrecisionOff, WeightsAndArithmeticAreFloat32) {
  const auto run = [](const ModelOptions& options) {
    EngineDriver driver("gpt_oss_mxfp4", options);
    const auto ids = driver.answer(greedy(random_prompt(30, 7), 12)).ids;
    return std::pair(ids, driver.model().executable->weights_bytes());
  };
  const auto stored = run({.precision = Precision::f32, .context = 64});
  const auto decoded = run({.context = 64, .disabled = {"precision"}});
  EXPECT_EQ(decoded.first, stored.first);
  EXPECT_GT(decoded.second, 2 * stored.second);
  EXPECT_EQ(run({.context = 64, .disabled = {"precision", "compiled"}}).first, stored.first);
  const auto model = load_model(tiny_model_path(kWatchedModel), {.disabled = {"precision"}});
  EXPECT_EQ((*model)->options.precision, Precision::f32);
  const auto both = load_model(tiny_model_path(kWatchedModel),
                               {.precision = Precision::exact, .disabled = {"precision"}});
  ASSERT_FALSE(both.ok());
  EXPECT_EQ(both.error().kind, ErrorKind::usage);
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
    EngineDriver driver(kWatchedModel,
                        {.backend = backend, .context = 64, .rows = 16, .watch = watched});
    const Answer answer = driver.answer(greedy(prompt, 3));
    EngineDriver plain(kWatchedModel, {.backend = backend, .context = 64, .rows = 16});
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
  EngineDriver driver(kWatchedModel, {.watch = gated});
  EXPECT_THAT(gated->blocked(),
              ElementsAre(FusedNode{"gated_linears", "layers.0.feed_forward.gated"}));
  const auto harmless = watch({"layers.0.add"}, nullptr, seen);
  EngineDriver other(kWatchedModel, {.watch = harmless});
  EXPECT_THAT(harmless->blocked(), IsEmpty());
  const auto all = watch({"*"}, nullptr, seen);
  EngineDriver third(kWatchedModel, {.watch = all});
  EXPECT_GE(all->blocked().size(), 10u);
}

TEST(Watch, StopsLookingAtTheFirstHitAndNamesNodeAndLine) {
  Seen seen;
  const auto hit = watch({"layers.*"}, "absmax>0", seen);
  EngineDriver driver(kWatchedModel, {.context = 64, .rows = 16, .watch = hit});
  driver.answer(greedy(random_prompt(20, 3), 3));
  ASSERT_TRUE(hit->hit().has_value());
  EXPECT_EQ(hit->hit()->kind, ErrorKind::runtime);
  EXPECT_THAT(hit->hit()->message, HasSubstr("layers.0.rms_norm"));
  EXPECT_THAT(hit->hit()->message, HasSubstr("step 1"));
  EXPECT_THAT(hit->hit()->message, testing::ContainsRegex("src/models/llama.cpp:[0-9]+"));
  EXPECT_EQ(seen.names.size(), 1u);
  EXPECT_THAT(seen.steps, ElementsAre(1));
}

TEST(SequenceRunnerWithoutCache, ComputesAgainWhatCameBeforeTheLastLogits) {
  Seen seen;
  const auto run = [&seen](const std::vector<std::string>& disabled) {
    seen = {};
    const auto model =
        load_model(tiny_model_path("gpt_oss_mxfp4"), {.context = 64,
                                                      .rows = 16,
                                                      .disabled = disabled,
                                                      .watch = watch({"embed"}, nullptr, seen)})
            .value();
    auto runner = SequenceRunner::create(*model).value();
    const auto prompt = random_prompt(20, 3);
    const std::span<const int32_t> tokens(prompt);
    std::vector<std::vector<float>> logits;
    const auto step = [&](std::span<const int32_t> rows, RowClass row_class, LogitRows wanted) {
      const StepOutput* output = runner.run(rows, row_class, wanted).value();
      for (const LogitsView& view : output->logits)
        logits.emplace_back(view.row.begin(), view.row.end());
    };
    step(tokens.first(16), RowClass::prompt, LogitRows::none);
    step(tokens.subspan(16), RowClass::prompt, LogitRows::last);
    step(tokens.first(1), RowClass::generated, LogitRows::last);
    step(tokens.first(1), RowClass::generated, LogitRows::last);
    EXPECT_EQ(runner.length(), 22);
    return logits;
  };
  const auto wanted = run({});
  EXPECT_THAT(seen.rows, ElementsAre(16, 4, 1, 1));
  EXPECT_EQ(wanted.size(), 3u);
  EXPECT_EQ(run({"kv-cache"}), wanted);
  EXPECT_THAT(seen.rows, ElementsAre(16, 4, 16, 4, 1, 16, 4, 1, 1));
}

TEST(Watch, APatternWithoutANodeIsAUsageError) {
  Seen seen;
  const auto model =
      load_model(tiny_model_path(kWatchedModel), {.watch = watch({"layers.9.*"}, nullptr, seen)});
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.error().kind, ErrorKind::usage);
}

TEST(Watch, TapsOfTheModelStayWhatTheyWere) {
  Seen seen;
  const auto model =
      load_model(tiny_model_path(kWatchedModel), {.context = 16,
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
  const auto plain = load_model(tiny_model_path(kWatchedModel), {}).value();
  Seen seen;
  const auto watched =
      load_model(tiny_model_path(kWatchedModel), {.watch = watch({"embed"}, nullptr, seen)})
          .value();
  EXPECT_NE(content_hash(plain->program), content_hash(watched->program));
  const auto again = load_model(tiny_model_path(kWatchedModel), {}).value();
  EXPECT_EQ(content_hash(again->program), content_hash(plain->program));
  EXPECT_EQ(again->executable->kernels(), plain->executable->kernels());
  EXPECT_EQ(again->executable->workspace_bytes(), plain->executable->workspace_bytes());
}

}  // namespace
}  // namespace dunlin
