// The engine with loops on a device (--steps-per-call): the same answers as token by token, in fewer
// calls.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../engine/engine_driver.h"
#include "pjrt_device.h"
#include "support/temporary_folder.h"

namespace dunlin {
namespace {

ModelOptions options(int64_t steps, const MeshShape& mesh = {}) {
  return {.backend = "pjrt",
          .device = pjrt::test_device(),
          .mesh = mesh,
          .xla_options = pjrt::quick_compilation(),
          .steps_per_call = steps,
          .precision = Precision::f32,
          .context = 96,
          .sequences = 3,
          .rows = 32};
}

struct LoopRun {
  std::vector<Answer> answers = {};
  int64_t calls = 0;  // of Engine::step()
};

LoopRun run(EngineDriver& driver, const std::vector<Request>& requests) {
  std::vector<std::shared_ptr<Answer>> together;
  for (const Request& request : requests) together.push_back(driver.submit(request));
  LoopRun result;
  while (driver.engine().step()) ++result.calls;
  for (const auto& answer : together) {
    EXPECT_FALSE(answer->error.has_value()) << answer->error->message;
    EXPECT_TRUE(answer->reason.has_value());
    result.answers.push_back(*answer);
  }
  return result;
}

void expect_same(const LoopRun& run, const LoopRun& expected, const std::string& what) {
  ASSERT_EQ(run.answers.size(), expected.answers.size());
  for (size_t i = 0; i < run.answers.size(); ++i) {
    EXPECT_EQ(run.answers[i].ids, expected.answers[i].ids) << what << ", request " << i;
    EXPECT_EQ(run.answers[i].reason, expected.answers[i].reason) << what << ", request " << i;
    EXPECT_EQ(run.answers[i].stats.predicted_tokens, expected.answers[i].stats.predicted_tokens);
  }
}

// Prompts of other lengths, answers whose lengths are no multiples of the steps of a call, more requests
// than slots, and the end of the context. Windows of GPT-OSS go round their rings.
std::vector<Request> mixed_requests() {
  std::vector<Request> requests = {greedy(random_prompt(5, 1), 13),
                                   greedy(random_prompt(17, 2), 60), greedy(random_prompt(1, 3), 1),
                                   greedy(random_prompt(30, 4), 2),
                                   greedy(random_prompt(40, 5), 9)};
  requests.push_back(greedy(random_prompt(85, 6), -1));
  return requests;
}

class EngineLoops : public testing::TestWithParam<std::string> {};

TEST_P(EngineLoops, AnswersAreThoseOfSingleSteps) {
  DUNLIN_NEEDS_PLUGIN();
  EngineDriver single(GetParam(), options(1));
  EXPECT_EQ(single.model().executable->most_steps(), 1);
  const LoopRun expected = run(single, mixed_requests());
  EXPECT_EQ(expected.answers.back().ids.size(), 11u);  // 96 - 85
  for (const int64_t steps : {3, 8}) {
    EngineDriver looped(GetParam(), options(steps));
    EXPECT_EQ(looped.model().executable->most_steps(), steps);
    const LoopRun answers = run(looped, mixed_requests());
    expect_same(answers, expected, std::to_string(steps) + " steps");
    EXPECT_LT(answers.calls, expected.calls * 3 / 4);
    EXPECT_EQ(looped.engine().stats().preemptions, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, EngineLoops,
                         testing::Values("llama_plain", "llama_heads_9_3", "qwen2_tied",
                                         "gpt_oss_bf16"),
                         [](const auto& info) { return info.param; });

TEST(EngineLoop, OnAMeshAnswersAreThoseOfSingleSteps) {
  DUNLIN_NEEDS_CPU_PLUGIN();
  const std::vector<std::pair<std::string, MeshShape>> meshes = {
      {"llama_plain", {.data = 2, .model = 2}}, {"gpt_oss_bf16", {.expert = 2, .model = 2}}};
  for (const auto& [model, mesh] : meshes) {
    EngineDriver single(model, options(1, mesh));
    EngineDriver looped(model, options(8, mesh));
    EXPECT_EQ(looped.model().executable->most_steps(), 8);
    const LoopRun expected = run(single, mixed_requests());
    const LoopRun answers = run(looped, mixed_requests());
    expect_same(answers, expected, model + " on " + to_string(mesh));
    EXPECT_LT(answers.calls, expected.calls * 3 / 4);
  }
}

// Weights that every step of a loop converts anew.
TEST(EngineLoop, OfPackedWeightsAnswersAreThoseOfSingleSteps) {
  DUNLIN_NEEDS_PLUGIN();
  struct Packed {
    std::string model;
    std::string type;
    MeshShape mesh = {};
  };
  std::vector<Packed> models = {
      {"llama_plain", "Q4_0"}, {"llama_plain", "I8"}, {"gpt_oss_bf16", "Q8_0"}};
  if (pjrt::on_cpu()) models.push_back({"llama_plain", "Q4_1", {.data = 2, .model = 2}});
  for (const Packed& it : models) {
    ModelOptions in_steps = options(1, it.mesh);
    ModelOptions in_loops = options(8, it.mesh);
    in_steps.quantize = it.type;
    in_loops.quantize = it.type;
    EngineDriver single(it.model, in_steps);
    EngineDriver looped(it.model, in_loops);
    EXPECT_EQ(looped.model().executable->most_steps(), 8);
    const LoopRun expected = run(single, mixed_requests());
    expect_same(run(looped, mixed_requests()), expected, it.model + " in " + it.type);
  }
}

// One token after another, the one that is asked for in the middle of a loop.
TEST(EngineLoop, AStopIdInTheMiddleEndsTheAnswerAndLeavesASoundCache) {
  DUNLIN_NEEDS_PLUGIN();
  EngineDriver looped("llama_plain", options(8));
  const std::vector<int32_t> all = looped.answer(greedy(random_prompt(9, 1), 20)).ids;
  ASSERT_EQ(all.size(), 20u);
  Request stopped = greedy(random_prompt(9, 1), 20);
  stopped.stop_ids = {all[11]};
  stopped.session = 1;
  const auto first = std::ranges::find(all, all[11]);
  const std::vector<int32_t> before(all.begin(), first);
  Request beside = greedy(random_prompt(12, 2), 20);
  const LoopRun together = run(looped, {stopped, beside});
  EXPECT_EQ(together.answers[0].ids, before);
  EXPECT_EQ(together.answers[0].reason, FinishReason::stop);
  EXPECT_EQ(together.answers[1].ids, looped.answer(beside).ids);

  // The session goes on from what was answered, not from what the device computed behind it.
  Request more = greedy(stopped.prompt, 12);
  more.prompt.insert(more.prompt.end(), before.begin(), before.end());
  more.prompt.push_back(7);
  more.session = 1;
  const Answer resumed = looped.answer(more);
  EXPECT_GE(resumed.stats.cached_tokens, 9);
  more.session = 0;
  EXPECT_EQ(resumed.ids, looped.answer(more).ids);
}

// More stop ids than a device looks for: the host looks for all.
TEST(EngineLoop, EveryStopIdCounts) {
  DUNLIN_NEEDS_PLUGIN();
  EngineDriver looped("llama_plain", options(8));
  const std::vector<int32_t> all = looped.answer(greedy(random_prompt(9, 1), 20)).ids;
  Request stopped = greedy(random_prompt(9, 1), 20);
  for (int32_t id = 0; std::ssize(stopped.stop_ids) < 2 * kStopIdsOfRow; ++id) {
    if (std::ranges::find(all, id) == all.end()) stopped.stop_ids.push_back(id);
  }
  stopped.stop_ids.push_back(all[5]);
  const Answer answer = looped.answer(stopped);
  EXPECT_EQ(answer.ids, std::vector<int32_t>(all.begin(), std::ranges::find(all, all[5])));
  EXPECT_EQ(answer.reason, FinishReason::stop);
}

// Requests whose tokens the host draws, or that a sampler of the caller's sees.
TEST(EngineLoop, WhatIsNotGreedyComesTokenByToken) {
  DUNLIN_NEEDS_PLUGIN();
  EngineDriver single("llama_plain", options(1));
  EngineDriver looped("llama_plain", options(8));
  Request biased = greedy(random_prompt(7, 3), 12);
  biased.sampling.logit_bias = {{5, 3.0f}};
  Request penalised = greedy(random_prompt(7, 3), 12);
  penalised.sampling.repeat_penalty = 1.3f;
  Request custom = greedy(random_prompt(7, 3), 12);
  custom.custom_sampler = [](const SamplerInput& input) -> std::optional<int32_t> {
    return input.ids[1];
  };
  for (const Request& request : {sampled(random_prompt(7, 3), 12, 5), biased, penalised, custom}) {
    const std::vector<Request> requests = {request, greedy(random_prompt(11, 4), 12)};
    const LoopRun expected = run(single, requests);
    const LoopRun answers = run(looped, requests);
    expect_same(answers, expected, "not greedy");
    EXPECT_EQ(answers.calls, expected.calls);
  }
}

// The host cuts an answer where a stop string is; what came behind it in the same call is forgotten.
TEST(EngineLoop, AStopStringEndsTheAnswerBeforeIt) {
  DUNLIN_NEEDS_PLUGIN();
  namespace fs = std::filesystem;
  const TemporaryFolder folder;
  fs::copy(tiny_model_path("llama_plain"), folder.path());
  fs::copy(fs::path(DUNLIN_SOURCE_DIR) / "tests/tokenizer/data/small_gpt2/tokenizer.json",
           folder.path());
  EngineDriver single(folder.path(), options(1));
  EngineDriver looped(folder.path(), options(8));
  Answer all;
  uint32_t seed = 0;  // of a prompt that is answered with text, not with special tokens alone
  while (all.text.size() < 8 && ++seed < 20)
    all = single.answer(greedy(random_prompt(8, seed), 40));
  ASSERT_GE(all.text.size(), 8u);
  Request stopped = greedy(random_prompt(8, seed), 40);
  stopped.stop = {all.text.substr(all.text.size() / 2, 3)};
  const Answer expected = single.answer(stopped);
  const Answer answer = looped.answer(stopped);
  EXPECT_EQ(answer.text, expected.text);
  EXPECT_EQ(answer.ids, expected.ids);
  EXPECT_EQ(answer.reason, expected.reason);
}

// A request that its own events cancel gets no more of them, though the device had more tokens.
TEST(EngineLoop, ACancelledRequestEndsAtOnce) {
  DUNLIN_NEEDS_PLUGIN();
  EngineDriver looped("llama_plain", options(8));
  Engine& engine = looped.engine();
  int tokens = 0;
  RequestId id = 0;
  const auto submitted = engine.submit(greedy(random_prompt(9, 1), 40), [&](const Event& event) {
    EXPECT_EQ(event.kind, Event::Kind::token);
    if (++tokens == 4) engine.cancel(id);
  });
  ASSERT_TRUE(submitted.ok());
  id = *submitted;
  engine.run_until_idle();
  EXPECT_EQ(tokens, 4);
  EXPECT_EQ(looped.answer(greedy(random_prompt(9, 1), 6)).ids.size(), 6u);
}

TEST(EngineLoop, OptionsThatCannotBeAreErrors) {
  const auto error_of = [](const ModelOptions& wrong, const std::string& model) {
    const auto loaded = load_model(tiny_model_path(model), wrong);
    EXPECT_FALSE(loaded.ok());
    return loaded.ok() ? Error{} : loaded.error();
  };
  ModelOptions on_cpu = options(4);
  on_cpu.backend = "cpu";
  on_cpu.device.clear();
  on_cpu.xla_options.clear();
  EXPECT_EQ(error_of(on_cpu, "llama_plain").message, "--steps-per-call 4 needs --backend pjrt");
  const Error diffusion = error_of(options(4), "dream_plain");
  EXPECT_EQ(diffusion.kind, ErrorKind::usage);
  EXPECT_THAT(diffusion.message, testing::HasSubstr("--steps-per-call 4: a diffusion model"));
  ModelOptions watched = options(4);
  watched.watch = Watch::create({.patterns = {"*"}});
  EXPECT_THAT(error_of(watched, "llama_plain").message, testing::HasSubstr("--watch"));
  DUNLIN_NEEDS_PLUGIN();
  const Error many = error_of(options(65), "llama_plain");
  EXPECT_EQ(many.kind, ErrorKind::usage);
  EXPECT_EQ(many.message, "--steps-per-call 65: expected 1 to 64");
}

TEST(EngineLoop, WithoutAKvCacheTokensComeOneByOne) {
  DUNLIN_NEEDS_PLUGIN();
  EngineDriver cached("llama_plain", options(8));
  ModelOptions uncached = options(8);
  uncached.disabled = {"kv-cache"};
  EngineDriver again("llama_plain", uncached);
  const Request request = greedy(random_prompt(9, 1), 10);
  EXPECT_EQ(again.answer(request).ids, cached.answer(request).ids);
  EXPECT_GT(again.engine().stats().steps, 9);
}

}  // namespace
}  // namespace dunlin
