// The engine over the PJRT back end: continuous batching, sessions and errors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>

#include "../engine/engine_driver.h"
#include "pjrt_device.h"
#include "support/saved_environment.h"
#include "support/temporary_folder.h"

namespace dunlin {
namespace {

ModelOptions options(const std::string& backend) {
  return {.backend = backend,
          .device = backend == "pjrt" ? pjrt::test_device() : "",
          .steps_per_call = backend == "pjrt" ? 1 : 0,  // engine_loop_test.cpp has loops
          .precision = Precision::f32,
          .context = 96,
          .sequences = 3,
          .rows = 32};
}

TEST(PjrtEngine, RequestsTogetherAnswerAsEachAloneOnTheCpu) {
  DUNLIN_NEEDS_PLUGIN();
  std::vector<std::vector<int32_t>> prompts;
  for (const uint32_t seed : {1u, 2u, 3u, 4u, 5u}) prompts.push_back(random_prompt(5 * seed, seed));
  EngineDriver pjrt("llama_heads_9_3", options("pjrt"));
  std::vector<std::shared_ptr<Answer>> together;
  for (const auto& prompt : prompts) together.push_back(pjrt.submit(greedy(prompt, 12)));
  pjrt.engine().run_until_idle();
  EngineDriver cpu("llama_heads_9_3", options("cpu"));
  for (size_t i = 0; i < prompts.size(); ++i) {
    ASSERT_FALSE(together[i]->error.has_value()) << together[i]->error->message;
    EXPECT_EQ(together[i]->ids, cpu.answer(greedy(prompts[i], 12)).ids) << i;
  }
}

// More requests than there are slots, of which each part of the batch has two.
TEST(PjrtEngine, RequestsOnAMeshAnswerAsEachAloneOnTheCpu) {
  DUNLIN_NEEDS_CPU_PLUGIN();
  std::vector<std::vector<int32_t>> prompts;
  for (const uint32_t seed : {1u, 2u, 3u, 4u, 5u, 6u})
    prompts.push_back(random_prompt(5 * seed, seed));
  ModelOptions on_mesh = options("pjrt");
  on_mesh.mesh = {.data = 2, .model = 2};
  on_mesh.xla_options = pjrt::quick_compilation();
  EngineDriver pjrt("llama_heads_9_3", on_mesh);
  EXPECT_EQ(pjrt.model().executable->pages_per_slot(0), 6);
  std::vector<std::shared_ptr<Answer>> together;
  for (const auto& prompt : prompts) together.push_back(pjrt.submit(greedy(prompt, 12)));
  pjrt.engine().run_until_idle();
  EngineDriver cpu("llama_heads_9_3", options("cpu"));
  for (size_t i = 0; i < prompts.size(); ++i) {
    ASSERT_FALSE(together[i]->error.has_value()) << together[i]->error->message;
    EXPECT_EQ(together[i]->ids, cpu.answer(greedy(prompts[i], 12)).ids) << i;
  }
}

TEST(PjrtEngine, AMeshThatCannotBeIsAnErrorThatSaysWhy) {
  const auto error_of = [](const MeshShape& mesh, const std::string& backend,
                           const std::string& model) {
    ModelOptions wrong = options(backend);
    wrong.mesh = mesh;
    const auto loaded = load_model(tiny_model_path(model), wrong);
    EXPECT_FALSE(loaded.ok()) << to_string(mesh);
    return loaded.ok() ? Error{} : loaded.error();
  };
  const Error no_pjrt = error_of({.model = 2}, "cpu", "llama_plain");
  EXPECT_EQ(no_pjrt.kind, ErrorKind::usage);
  EXPECT_EQ(no_pjrt.message, "--mesh model=2 needs --backend pjrt");
  DUNLIN_NEEDS_CPU_PLUGIN();
  for (const MeshShape& mesh :
       {MeshShape{.stage = 2}, MeshShape{.fsdp = 2}, MeshShape{.width = 2}}) {
    const Error other_axis = error_of(mesh, "pjrt", "llama_plain");
    EXPECT_EQ(other_axis.kind, ErrorKind::usage);
    EXPECT_THAT(other_axis.message, testing::HasSubstr("splits over data, expert and model"));
  }
  const Error dense = error_of({.expert = 2}, "pjrt", "llama_plain");
  EXPECT_EQ(dense.kind, ErrorKind::usage);
  EXPECT_EQ(dense.message, "mesh expert=2: llama has no experts; data splits its sequences");
  const Error experts = error_of({.expert = 4}, "pjrt", "gpt_oss_bf16");  // of six
  EXPECT_EQ(experts.kind, ErrorKind::usage);
  EXPECT_THAT(experts.message, testing::HasSubstr("has 6 experts, which 4 devices"));
}

TEST(PjrtEngine, ASessionContinuesFromItsCache) {
  DUNLIN_NEEDS_PLUGIN();
  EngineDriver driver("qwen2_tied", options("pjrt"));
  Request first = greedy(random_prompt(20, 7), 4);
  first.session = 1;
  const Answer before = driver.answer(first);
  Request second = first;
  second.prompt.insert(second.prompt.end(), before.ids.begin(), before.ids.end());
  second.prompt.push_back(3);
  const Answer resumed = driver.answer(second);
  EXPECT_GE(resumed.stats.cached_tokens, 20);
  second.session = 0;
  EXPECT_EQ(resumed.ids, driver.answer(second).ids);
}

// Sessions in slots of both parts of the batch, between other requests: each goes on from its own cache,
// and what a session's beginning has in common with the new prompt is not computed again.
TEST(PjrtEngine, SessionsOnAMeshContinueFromTheirCaches) {
  DUNLIN_NEEDS_CPU_PLUGIN();
  ModelOptions on_mesh = options("pjrt");
  on_mesh.mesh = {.data = 2, .model = 2};
  on_mesh.xla_options = pjrt::quick_compilation();
  on_mesh.sequences = 4;
  EngineDriver driver("llama_heads_9_3", on_mesh);
  std::vector<Request> requests;
  std::vector<std::shared_ptr<Answer>> answers;
  for (const uint32_t number : {1u, 2u, 3u}) {
    Request request = greedy(random_prompt(10 + 7 * number, number), 4);
    request.session = number;
    answers.push_back(driver.submit(request));
    requests.push_back(std::move(request));
  }
  driver.engine().run_until_idle();
  for (size_t i = 0; i < requests.size(); ++i) {
    Request& next = requests[i];
    const auto before = static_cast<int64_t>(next.prompt.size());
    next.prompt.insert(next.prompt.end(), answers[i]->ids.begin(), answers[i]->ids.end());
    next.prompt.push_back(3);
    const Answer resumed = driver.answer(next);
    EXPECT_GE(resumed.stats.cached_tokens, before) << i;
    Request alone = next;
    alone.session = 0;
    const Answer fresh = driver.answer(alone);
    EXPECT_EQ(fresh.stats.cached_tokens, 0) << i;
    EXPECT_EQ(resumed.ids, fresh.ids) << i;
  }
  // Another end: positions behind the common beginning are computed again, and written over.
  Request other = requests[1];
  other.prompt.resize(20);
  other.prompt.push_back(90);
  const Answer turned = driver.answer(other);
  EXPECT_GE(turned.stats.cached_tokens, 16);
  EXPECT_LE(turned.stats.cached_tokens, 20);
  other.session = 0;
  EXPECT_EQ(turned.ids, driver.answer(other).ids);
}

TEST(PjrtEngine, SeededSamplingIsTheSameAgain) {
  DUNLIN_NEEDS_PLUGIN();
  EngineDriver driver("llama_plain", options("pjrt"));
  const Request request = sampled(random_prompt(9, 1), 10, 77);
  EXPECT_EQ(driver.answer(request).ids, driver.answer(request).ids);
}

constexpr int32_t kTokenOfNan = 77;

// llama_plain, whose embedding of one token is no number.
void write_model_with_nan(const TemporaryFolder& folder) {
  std::filesystem::copy(tiny_model_path("llama_plain"), folder.path());
  const std::string path = folder.file("model.safetensors");
  std::ifstream file(path, std::ios::binary);
  std::string bytes(std::istreambuf_iterator<char>(file), {});
  // {"model.embed_tokens.weight":{"dtype":"F32","shape":[V,D],"data_offsets":[begin,end]},..}
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), sizeof header_bytes);
  const size_t name = bytes.find("\"model.embed_tokens.weight\"");
  const auto number_behind = [&bytes, name](const std::string& key, size_t index) {
    size_t at = bytes.find('[', bytes.find(key, name)) + 1;
    for (size_t i = 0; i < index; ++i) at = bytes.find(',', at) + 1;
    return std::stoull(bytes.substr(at));
  };
  const uint64_t row = uint64_t{kTokenOfNan} * number_behind("\"shape\"", 1) * sizeof(float);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const uint64_t first = sizeof header_bytes + header_bytes + number_behind("\"data_offsets\"", 0);
  std::memcpy(bytes.data() + first + row, &nan, sizeof nan);
  std::ofstream(path, std::ios::binary) << bytes;
}

// Keys and values of a failed request lie in the slot that the next one gets, which is shorter.
TEST(PjrtEngine, ARequestThatIsNoNumberHarmsNoneThatFollows) {
  DUNLIN_NEEDS_PLUGIN();
  const TemporaryFolder folder;
  write_model_with_nan(folder);
  EngineDriver driver(folder.path(), options("pjrt"));
  EngineDriver clean("llama_plain", options("pjrt"));
  std::vector<int32_t> bad = random_prompt(20, 4);
  bad[17] = kTokenOfNan;
  Request good = greedy(random_prompt(9, 1), 5);
  good.sampling.logit_bias = {{kTokenOfNan, -1000.0f}};  // must not be drawn
  const std::vector<int32_t> expected = clean.answer(good).ids;
  for (int round = 0; round < 2; ++round) {
    const Answer failed = driver.answer(greedy(bad, 8));
    ASSERT_TRUE(failed.error.has_value());
    EXPECT_NE(failed.error->message.find("NaN"), std::string::npos) << failed.error->message;
    const Answer answer = driver.answer(good);
    ASSERT_FALSE(answer.error.has_value()) << answer.error->message;
    EXPECT_EQ(answer.ids, expected);
  }
}

// A slot whose sequences were numbers is not cleared for the next one.
TEST(PjrtEngine, ASlotIsUsedAgainAsItIs) {
  DUNLIN_NEEDS_PLUGIN();
  EngineDriver driver("llama_plain", options("pjrt"));
  EXPECT_FALSE(driver.answer(greedy(random_prompt(20, 1), 10)).error.has_value());
  const int64_t compiled = driver.model().executable->programs().compiled;
  EXPECT_FALSE(driver.answer(greedy(random_prompt(18, 2), 3)).error.has_value());
  EXPECT_EQ(driver.model().executable->programs().compiled, compiled);
}

// Nor is that of a request that was cancelled within its prompt: logits that nobody asked for have told.
TEST(PjrtEngine, ASlotIsUsedAgainAsItIsAfterACancelledPrompt) {
  DUNLIN_NEEDS_PLUGIN();
  EngineDriver driver("llama_plain", options("pjrt"));
  const Request longer = greedy(random_prompt(60, 1), 2);  // two steps for its prompt
  const Request shorter = greedy(random_prompt(9, 2), 3);
  const std::vector<int32_t> ids = driver.answer(shorter).ids;
  EXPECT_FALSE(driver.answer(longer).error.has_value());
  const int64_t compiled = driver.model().executable->programs().compiled;
  const auto cancelled = driver.submit(longer);
  driver.engine().step();
  driver.engine().cancel(driver.last_id());
  EXPECT_EQ(driver.answer(shorter).ids, ids);
  EXPECT_FALSE(cancelled->reason.has_value());
  EXPECT_EQ(driver.model().executable->programs().compiled, compiled);
}

// They are the largest output of a step: a greedy answer and the default sampling need none.
TEST(PjrtEngine, RowsOfLogitsStayOnTheDeviceUnlessSomethingReadsThem) {
  DUNLIN_NEEDS_PLUGIN();
  EngineDriver driver("llama_plain", options("pjrt"));
  Request request = greedy(random_prompt(9, 1), 4);
  const std::vector<int32_t> ids = driver.answer(request).ids;
  request.sampling.temperature = 0.5f;
  request.sampling.top_k = 5;
  EXPECT_FALSE(driver.answer(request).error.has_value());
  const uint64_t without_rows = driver.model().executable->workspace_bytes();
  request.sampling.temperature = 0.0f;
  request.sampling.logit_bias = {{3, 0.0f}};
  EXPECT_EQ(driver.answer(request).ids, ids);
  EXPECT_GE(driver.model().executable->workspace_bytes(),
            without_rows + static_cast<uint64_t>(driver.model().vocabulary) * sizeof(float));
}

// In a folder of its own, to see what is left for other processes.
TEST(PjrtEngine, AnotherProcessCompilesNothingAgain) {
  DUNLIN_NEEDS_PLUGIN();
  const TemporaryFolder folder;
  const SavedEnvironment environment("DUNLIN_COMPILE_CACHE", folder.path());
  const auto answer = [](DevicePrograms& programs) {
    EngineDriver driver("llama_plain", options("pjrt"));
    const Answer result = driver.answer(greedy(random_prompt(9, 1), 10));
    programs = driver.model().executable->programs();
    return result.ids;
  };
  DevicePrograms first;
  DevicePrograms second;
  const std::vector<int32_t> compiled = answer(first);
  EXPECT_EQ(answer(second), compiled);
  // Two of steps, a prompt's and a token's, and one for arrays of zeros.
  EXPECT_EQ(first.compiled, 3);
  EXPECT_EQ(first.loaded, 0);
  EXPECT_EQ(second.compiled, 0);
  EXPECT_EQ(second.loaded, 3);
}

TEST(PjrtEngine, AnUnknownDeviceIsAnErrorThatSaysWhatThereIs) {
  ModelOptions unknown = options("pjrt");
  unknown.device = "npu";
  const auto model = load_model(tiny_model_path("llama_plain"), unknown);
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.error().kind, ErrorKind::usage);
  EXPECT_THAT(model.error().message, testing::HasSubstr("cpu-xla"));
  unknown.device = "/no/plugin.so";
  EXPECT_EQ(load_model(tiny_model_path("llama_plain"), unknown).error().kind, ErrorKind::device);
  unknown.backend = "cpu";
  EXPECT_EQ(load_model(tiny_model_path("llama_plain"), unknown).error().kind, ErrorKind::usage);
}

TEST(PjrtEngine, AnOptionThatTheCompilerDoesNotTakeIsAnErrorThatNamesIt) {
  DUNLIN_NEEDS_CPU_PLUGIN();
  ModelOptions with_option = options("pjrt");
  with_option.xla_options = {"xla_no_such_option=1"};
  const auto model = load_model(tiny_model_path("llama_plain"), with_option);
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.error().kind, ErrorKind::device);
  EXPECT_THAT(model.error().message, testing::HasSubstr("--xla-option"));
  EXPECT_THAT(model.error().message, testing::HasSubstr("xla_no_such_option"));
  // Programs of as many partitions as the mesh has.
  with_option.mesh = {.model = 2};
  const auto on_mesh = load_model(tiny_model_path("llama_plain"), with_option);
  ASSERT_FALSE(on_mesh.ok());
  EXPECT_EQ(on_mesh.error().kind, ErrorKind::device);
  EXPECT_THAT(on_mesh.error().message, testing::HasSubstr("--xla-option"));
  EXPECT_THAT(on_mesh.error().message, testing::HasSubstr("xla_no_such_option"));
  with_option.xla_options = {"xla_backend_optimization_level=1"};
  EXPECT_TRUE(load_model(tiny_model_path("llama_plain"), with_option).ok());
  with_option.mesh = {};
  with_option.xla_options = {"xla_backend_optimization_level=1", "without_a_value"};
  EXPECT_EQ(load_model(tiny_model_path("llama_plain"), with_option).error().kind, ErrorKind::usage);
  with_option.xla_options.pop_back();
  EXPECT_TRUE(load_model(tiny_model_path("llama_plain"), with_option).ok());
  with_option = options("cpu");
  with_option.xla_options = {"xla_backend_optimization_level=1"};
  EXPECT_EQ(load_model(tiny_model_path("llama_plain"), with_option).error().kind, ErrorKind::usage);
}

}  // namespace
}  // namespace dunlin
