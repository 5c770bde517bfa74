// The engine over a plug-in in a process of its own: the ids of one in this process, and errors of kind
// device for requests whose plug-in has gone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "../engine/engine_driver.h"
#include "faulty_plugin.h"
#include "pjrt_device.h"

namespace dunlin {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

ModelOptions plugin_options(const std::string& device, bool isolated) {
  ModelOptions options{.backend = "pjrt",
                       .device = device,
                       .xla_options = pjrt::quick_compilation(),
                       .precision = Precision::f32,
                       .context = 96,
                       .sequences = 3,
                       .rows = 32};
  if (isolated) options.isolate.emplace().program = DUNLIN_BINARY;
  return options;
}

std::vector<std::vector<int32_t>> ids_of(const ModelOptions& options) {
  EngineDriver driver("llama_heads_9_3", options);
  std::vector<std::shared_ptr<Answer>> answers;
  for (const uint32_t seed : {1u, 2u, 3u, 4u})
    answers.push_back(driver.submit(greedy(random_prompt(5 * seed, seed), 12)));
  answers.push_back(driver.submit(sampled(random_prompt(9, 5), 12, 77)));
  driver.engine().run_until_idle();
  std::vector<std::vector<int32_t>> ids;
  for (const auto& answer : answers) {
    EXPECT_FALSE(answer->error.has_value()) << answer->error->message;
    ids.push_back(answer->ids);
  }
  return ids;
}

TEST(IsolatedEngine, IdsAreThoseOfAPluginInThisProcess) {
  DUNLIN_NEEDS_CPU_PLUGIN();
  const MeshShape four{.data = 2, .model = 2};
  for (const auto& [mesh, steps] :
       {std::pair{MeshShape{}, 1}, std::pair{MeshShape{}, 4}, std::pair{four, 1}}) {
    ModelOptions here = plugin_options("cpu-xla", /*isolated=*/false);
    ModelOptions there = plugin_options("cpu-xla", /*isolated=*/true);
    here.mesh = there.mesh = mesh;
    here.steps_per_call = there.steps_per_call = steps;
    const auto ids = ids_of(there);
    EXPECT_EQ(ids, ids_of(here)) << to_string(mesh) << ", steps of a call: " << steps;
    EXPECT_EQ(ids.front().size(), 12u);
  }
}

// An answer of 30 tokens, after the first of which the plug-in's calls count.
Answer answer_with_fault(EngineDriver& driver, const PluginFault& fault) {
  const auto answer = driver.submit(greedy(random_prompt(9, 1), 30));
  while (answer->ids.empty() && !answer->error && driver.engine().step()) {
  }
  EXPECT_EQ(answer->ids.size(), 1u);
  fault.start();
  driver.engine().run_until_idle();
  return *answer;
}

TEST(IsolatedEngine, APluginThatIsKilledFailsItsRequestsAndThoseToCome) {
  DUNLIN_NEEDS_CPU_PLUGIN();
  for (const auto& [call, doing] :
       {std::pair{"download", "copy an array from the device"}, std::pair{"execute", "execute"}}) {
    const PluginFault fault(std::string(call) + " 1 hang", PluginFault::Counts::once_started);
    EngineDriver driver("llama_plain", plugin_options(DUNLIN_FAULTY_PLUGIN, /*isolated=*/true));
    std::thread killer([&fault] { fault.kill_plugin(); });
    const Answer answer = answer_with_fault(driver, fault);
    killer.join();
    ASSERT_TRUE(answer.error.has_value()) << call;
    EXPECT_EQ(answer.error->kind, ErrorKind::device);
    EXPECT_EQ(answer.error->message,
              std::string(DUNLIN_FAULTY_PLUGIN) + ": " + doing +
                  ": the process of the plug-in ended with signal 9 (Killed)");
    EXPECT_EQ(answer.ids.size(), 1u);
    for (int i = 0; i < 2; ++i) {
      const Answer next = driver.answer(greedy(random_prompt(5, 2), 3));
      ASSERT_TRUE(next.error.has_value()) << call;
      EXPECT_EQ(next.error->kind, ErrorKind::device);
      EXPECT_THAT(next.error->message, EndsWith(answer.error->message));
      EXPECT_TRUE(next.ids.empty());
    }
  }
}

// Its arrays are gone with the process.
TEST(IsolatedEngine, AModelWhosePluginHasGoneIsFreed) {
  DUNLIN_NEEDS_CPU_PLUGIN();
  pid_t process = 0;
  {
    const PluginFault fault("open 1 note");
    EngineDriver driver("llama_plain", plugin_options(DUNLIN_FAULTY_PLUGIN, /*isolated=*/true));
    process = fault.wait().plugin;
    fault.kill_plugin();
    EXPECT_TRUE(driver.answer(greedy(random_prompt(5, 2), 3)).error.has_value());
  }
  EXPECT_TRUE(has_ended(process));
}

TEST(IsolatedEngine, AnExhaustedDeviceInAStepDoesNotFit) {
  DUNLIN_NEEDS_CPU_PLUGIN();
  const PluginFault fault("download 1 fail", PluginFault::Counts::once_started);
  EngineDriver driver("llama_plain", plugin_options(DUNLIN_FAULTY_PLUGIN, /*isolated=*/true));
  const Answer answer = answer_with_fault(driver, fault);
  ASSERT_TRUE(answer.error.has_value());
  EXPECT_EQ(answer.error->kind, ErrorKind::does_not_fit);
  EXPECT_THAT(answer.error->message, HasSubstr("out of device memory"));
  // What failed was a copy: the next request is answered.
  EXPECT_EQ(driver.answer(greedy(random_prompt(5, 2), 3)).ids.size(), 3u);
}

TEST(IsolatedEngine, OnlyAPluginIsIsolated) {
  ModelOptions options;
  options.isolate.emplace().program = DUNLIN_BINARY;
  const auto model = load_model(tiny_model_path("llama_plain"), options);
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.error().kind, ErrorKind::usage);
  EXPECT_EQ(model.error().message, "--isolate needs --backend pjrt");
}

}  // namespace
}  // namespace dunlin
