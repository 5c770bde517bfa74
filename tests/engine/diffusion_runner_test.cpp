// DiffusionRunner: canvases in one forward pass are what they are alone, seeds decide, and requests
// that cannot be are refused.
#include "engine/diffusion_runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

#include "engine/engine.h"
#include "engine_driver.h"

namespace dunlin {
namespace {

using testing::HasSubstr;
using Ids = std::vector<int32_t>;

constexpr int32_t kMask = 157;  // of dream_plain

std::unique_ptr<Model> load(const ModelOptions& options, const std::string& name = "dream_plain") {
  auto model = load_model(tiny_model_path(name), options);
  EXPECT_TRUE(model.ok()) << model.error().message;
  return std::move(model).value();
}

struct CanvasRequest {
  Ids prompt;
  DiffusionParams params;
};

Ids canvas_ids(const DiffusionCanvas& canvas) {
  return {canvas.decoder.canvas().begin(), canvas.decoder.canvas().end()};
}

// All requests at once, as far as the runner takes them; the canvases at the end.
std::vector<Ids> run_together(Model& model, const std::vector<CanvasRequest>& requests) {
  auto runner = DiffusionRunner::create(model);
  EXPECT_TRUE(runner.ok()) << runner.error().message;
  std::vector<std::unique_ptr<DiffusionCanvas>> canvases;
  std::vector<DiffusionCanvas*> pending;
  for (const CanvasRequest& request : requests) {
    auto canvas = runner->open(request.prompt, request.params);
    EXPECT_TRUE(canvas.ok()) << canvas.error().message;
    canvases.push_back(std::move(canvas).value());
    pending.push_back(canvases.back().get());
  }
  for (bool more = true; more;) {
    const auto advanced = runner->step(pending);
    EXPECT_TRUE(advanced.ok());
    more = advanced.ok() && !advanced->empty();
  }
  std::vector<Ids> ids;
  for (const auto& canvas : canvases) {
    EXPECT_TRUE(canvas->over());
    EXPECT_FALSE(canvas->error.has_value());
    ids.push_back(canvas_ids(*canvas));
    runner->close(*canvas);
  }
  return ids;
}

std::vector<CanvasRequest> mixed_canvases() {
  using enum DiffusionAlgorithm;
  std::vector<CanvasRequest> requests;
  const auto add = [&requests](Ids prompt, DiffusionParams params) {
    requests.push_back({std::move(prompt), std::move(params)});
  };
  add(random_prompt(5, 1), {.max_tokens = 12, .steps = 6, .algorithm = entropy});
  add(random_prompt(40, 2), {.max_tokens = 20,
                             .steps = 20,
                             .algorithm = maskgit_plus,
                             .alg_temperature = 0.3,
                             .temperature = 0.7f,
                             .top_p = 0.9f,
                             .seed = 6});
  add(random_prompt(17, 3), {.max_tokens = 24,
                             .steps = 8,
                             .algorithm = confidence_threshold,
                             .cache = DiffusionCache::dual,
                             .block_length = 7,
                             .threshold = 0.3f});
  add(random_prompt(1, 4), {.max_tokens = 9,
                            .steps = 9,
                            .algorithm = confidence_threshold,
                            .cache = DiffusionCache::prefix,
                            .block_length = 4,
                            .threshold = 0.3f});
  add({3, kMask, 7, kMask, 9}, {.max_tokens = 0, .steps = 2, .algorithm = topk_margin});
  add(random_prompt(8, 5),
      {.max_tokens = 16, .steps = 5, .algorithm = origin, .temperature = 1.0f, .seed = 8});
  return requests;
}

struct Setting {
  std::string backend;
  int threads;
  Precision precision;
  std::optional<KvType> kv_type = std::nullopt;
};

class Together : public testing::TestWithParam<Setting> {};

TEST_P(Together, CanvasesAreWhatTheyAreAlone) {
  const Setting& setting = GetParam();
  ModelOptions options{.backend = setting.backend,
                       .precision = setting.precision,
                       .kv_type = setting.kv_type,
                       .threads = setting.threads,
                       .context = 128,
                       .sequences = 6,
                       .new_tokens = 24};
  const std::vector<CanvasRequest> requests = mixed_canvases();
  const auto together = load(options);
  const std::vector<Ids> answers = run_together(*together, requests);
  options.sequences = 1;
  const auto single = load(options);
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(run_together(*single, {requests[i]}).front(), answers[i]) << i;
    EXPECT_EQ(std::ranges::count(answers[i], kMask), 0) << i;
  }
  // Too little room for all of them in one step: they take turns.
  options.sequences = 6;
  options.rows = 1;
  options.logit_rows = 24;
  EXPECT_EQ(run_together(*load(options), requests), answers);
}

INSTANTIATE_TEST_SUITE_P(All, Together,
                         testing::Values(Setting{"reference", 1, Precision::f32},
                                         Setting{"cpu", 1, Precision::automatic},
                                         Setting{"cpu", 2, Precision::automatic},
                                         Setting{"cpu", 2, Precision::exact},
                                         Setting{"cpu", 2, Precision::exact, KvType::int8}),
                         [](const auto& info) {
                           return info.param.backend + std::to_string(info.index);
                         });

// Slots of the cache are overwritten by the passes of blocks, those of codes with their scales.
TEST(DiffusionRunner, CanvasesWithACacheInInt8AreThoseOfTheReference) {
  const auto answers = [](const char* backend, std::optional<KvType> type) {
    return run_together(*load({.backend = backend,
                               .kv_type = type,
                               .threads = 1,
                               .context = 128,
                               .sequences = 6,
                               .new_tokens = 24}),
                        mixed_canvases());
  };
  EXPECT_EQ(answers("cpu", KvType::int8), answers("reference", KvType::int8));
}

// Blocks and caches of other lengths than the pages, and slots that others had before.
TEST(DiffusionRunner, ASlotMayBeUsedAgain) {
  const auto model = load({.context = 64, .new_tokens = 24});
  const std::vector<CanvasRequest> requests = mixed_canvases();
  auto runner = DiffusionRunner::create(*model).value();
  const auto answer = [&runner](const CanvasRequest& request) {
    const auto canvas = runner.open(request.prompt, request.params).value();
    DiffusionCanvas* const member = canvas.get();
    while (!canvas->over()) EXPECT_TRUE(runner.step(std::span(&member, 1)).ok());
    runner.close(*canvas);
    return canvas_ids(*canvas);
  };
  const Ids first = answer(requests[2]);
  answer(requests[1]);
  EXPECT_EQ(answer(requests[2]), first);
}

TEST(DiffusionRunner, SeedsDecide) {
  const auto model = load({.context = 64, .new_tokens = 16});
  const auto answer = [&model](uint64_t seed) {
    return run_together(*model, {{{1, 2, 3},
                                  {.max_tokens = 16,
                                   .steps = 8,
                                   .algorithm = DiffusionAlgorithm::origin,
                                   .temperature = 1.0f,
                                   .seed = seed}}})
        .front();
  };
  EXPECT_EQ(answer(1), answer(1));
  EXPECT_NE(answer(1), answer(2));
}

TEST(DiffusionRunner, RefusesWhatCannotBe) {
  const auto model = load({.context = 32, .logit_rows = 8});
  auto runner = DiffusionRunner::create(*model).value();
  const auto error = [&runner](Ids prompt, const DiffusionParams& params) {
    const auto canvas = runner.open(std::move(prompt), params);
    EXPECT_FALSE(canvas.ok());
    if (canvas.ok()) return std::string();
    EXPECT_EQ(canvas.error().kind, ErrorKind::usage);
    return canvas.error().message;
  };
  const DiffusionParams eight{.max_tokens = 8, .steps = 8};
  EXPECT_THAT(error({}, eight), HasSubstr("the prompt is empty"));
  EXPECT_THAT(error({160}, eight), HasSubstr("token 160 of the prompt is outside 0..159"));
  EXPECT_THAT(error({-1}, eight), HasSubstr("token -1"));
  EXPECT_THAT(error(random_prompt(25, 1), eight),
              HasSubstr("the prompt has 25 tokens and the answer 8; together they do not fit the "
                        "context of 32"));
  EXPECT_THAT(error({1}, {.max_tokens = 9, .steps = 9}),
              HasSubstr("the canvas has 9 masks, and a step has the logits of 8"));
  EXPECT_THAT(error({1}, {.max_tokens = 8, .steps = 0}), HasSubstr("steps is 0"));
  // Nothing of these took the slot.
  EXPECT_TRUE(runner.open({1}, eight).ok());
}

TEST(DiffusionRunner, IsForModelsThatFillInMasks) {
  const auto model = load({}, "qwen2_untied");
  EXPECT_FALSE(model->diffusion.has_value());
  const auto runner = DiffusionRunner::create(*model);
  ASSERT_FALSE(runner.ok());
  EXPECT_EQ(runner.error().kind, ErrorKind::usage);
  EXPECT_THAT(runner.error().message, HasSubstr("not a diffusion model"));
}

TEST(DiffusionModel, IsNoneThatWritesTokenAfterToken) {
  const auto model = load({.context = 32});
  ASSERT_TRUE(model->diffusion.has_value());
  EXPECT_EQ(model->diffusion->mask_id, kMask);
  const auto engine = make_engine(*model);
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.error().kind, ErrorKind::usage);
  EXPECT_THAT(engine.error().message, HasSubstr("is a diffusion model"));
}

// Gigabytes of them, in a model of real size.
TEST(DiffusionModel, IsRefusedBeforeItsWeightsAreRead) {
  const std::string path = tiny_model_path("dream_plain");
  bool read = false;
  const auto progress = [&read](double, const std::string&) { read = true; };
  const auto refused = load_model(path, {.progress = progress, .autoregressive_for = "a proof"});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind, ErrorKind::usage);
  EXPECT_THAT(refused.error().message,
              HasSubstr("a proof needs a model that writes token after token"));
  LoadOptions options;
  options.progress = progress;
  const auto engine = Engine::load(path, options);
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.error().kind, ErrorKind::usage);
  EXPECT_FALSE(read);
  EXPECT_TRUE(load_model(path, {.progress = progress}).ok());
  EXPECT_TRUE(read);
}

TEST(DiffusionModel, AStepHoldsAWholeCanvas) {
  const auto model = load({.context = 100, .sequences = 3, .rows = 7, .new_tokens = 10});
  EXPECT_EQ(model->limits.context, 100);
  EXPECT_EQ(model->limits.rows, 100);
  EXPECT_EQ(model->limits.logit_rows, 100);
  EXPECT_EQ(load({.new_tokens = 10})->limits.logit_rows, kDefaultNewTokens);
  EXPECT_EQ(load({.new_tokens = 200})->limits.logit_rows, 200);
}

TEST(DiffusionModel, EndsAtItsStopAndPaddingTokens) {
  const auto model = load({.context = 32});
  EXPECT_EQ(diffusion_end_ids(*model), model->stop_ids);  // 2 is both
}

}  // namespace
}  // namespace dunlin
