// The promise of docs/decisions/0002-numerics.md through the whole engine: the ids of an answer
// depend on prompt, parameters and seed, never on what else runs, on chunking, threads or ISA.
#include <gtest/gtest.h>

#include "base/cpu_features.h"
#include "engine_driver.h"

namespace dunlin {
namespace {

using Ids = std::vector<int32_t>;

// float32, bfloat16 and float16 weights, head counts of real models, windows and experts.
const std::vector<std::string> kModels = {"llama_plain",     "llama_tied_bias", "llama3_scaled",
                                          "llama_heads_9_3", "qwen2_untied",    "qwen2_heads_14_2",
                                          "gpt_oss_mxfp4",   "gpt_oss_bf16"};

class EngineModels : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, EngineModels, testing::ValuesIn(kModels),
                         [](const auto& info) { return info.param; });

TEST_P(EngineModels, GreedyIdsAreTheGoldens) {
  const Ids prompt = golden_ids(GetParam(), "input_ids");
  const Ids wanted = golden_ids(GetParam(), "greedy_ids");
  for (const char* backend : {"reference", "cpu"}) {
    EngineDriver driver(GetParam(), {.backend = backend, .precision = Precision::f32});
    const Answer answer = driver.answer(greedy(prompt, static_cast<int64_t>(wanted.size())));
    EXPECT_EQ(answer.ids, wanted) << backend;
    EXPECT_EQ(answer.reason, FinishReason::length);
    EXPECT_EQ(answer.stats.prompt_tokens, static_cast<int64_t>(prompt.size()));
    EXPECT_EQ(answer.stats.cached_tokens, 0);
    EXPECT_EQ(answer.stats.predicted_tokens, static_cast<int64_t>(wanted.size()));
  }
}

// Requests of all kinds: greedy and sampled, one token to several chunks long, some with penalties,
// two that share a prefix and two that are equal.
std::vector<Request> mixed_requests() {
  std::vector<Request> requests;
  const size_t sizes[] = {1, 5, 16, 17, 33, 64, 90, 2};
  for (uint32_t i = 0; i < 8; ++i) {
    const Ids prompt = random_prompt(sizes[i], i);
    requests.push_back(i % 2 == 0 ? sampled(prompt, 8 + i, i) : greedy(prompt, 20 - i));
  }
  Ids extended = requests[5].prompt;
  extended.insert(extended.end(), {3, 1, 4, 1, 5});
  requests.push_back(sampled(extended, 12, 77));
  requests.push_back(requests[6]);
  requests[4].sampling.repeat_penalty = 1.3f;
  requests[2].sampling.presence_penalty = 0.5f;
  return requests;
}

std::vector<Ids> answer_together(const std::string& model, const ModelOptions& options) {
  EngineDriver driver(model, options);
  std::vector<std::shared_ptr<Answer>> answers;
  for (const Request& request : mixed_requests()) answers.push_back(driver.submit(request));
  driver.engine().run_until_idle();
  std::vector<Ids> ids;
  for (const auto& answer : answers) {
    EXPECT_EQ(answer->reason, FinishReason::length);
    ids.push_back(answer->ids);
  }
  return ids;
}

// Each in an engine of its own.
std::vector<Ids> answer_alone(const std::string& model, const ModelOptions& options) {
  std::vector<Ids> ids;
  for (const Request& request : mixed_requests())
    ids.push_back(EngineDriver(model, options).answer(request).ids);
  return ids;
}

ModelOptions options(int64_t sequences, int64_t rows = 512, int threads = 1) {
  return {.threads = threads, .context = 128, .sequences = sequences, .rows = rows};
}

TEST_P(EngineModels, IdsDoNotDependOnTheBatch) {
  const auto alone = answer_alone(GetParam(), options(1));
  for (const int64_t sequences : {1, 2, 3, 10})
    EXPECT_EQ(answer_together(GetParam(), options(sequences)), alone) << sequences;
  EXPECT_NE(alone[0], alone[2]);  // the answers are not all the same
}

TEST_P(EngineModels, IdsDoNotDependOnTheChunks) {
  const auto whole = answer_together(GetParam(), options(4));
  for (const int64_t rows : {1, 7, 16, 40})
    EXPECT_EQ(answer_together(GetParam(), options(4, rows)), whole) << rows;
}

TEST_P(EngineModels, IdsDoNotDependOnTheThreads) {
  const auto one = answer_together(GetParam(), options(4));
  for (const int threads : {2, 4})
    EXPECT_EQ(answer_together(GetParam(), options(4, 33, threads)), one) << threads;
}

TEST_P(EngineModels, IdsDoNotDependOnTheInstructionSetOrTheBackEnd) {
  for (const Precision precision :
       {Precision::automatic, Precision::exact, Precision::int8, Precision::fast, Precision::f32}) {
    ModelOptions scalar = options(4);
    scalar.precision = precision;
    scalar.isa = "scalar";
    const auto wanted = answer_together(GetParam(), scalar);
    for (const Isa isa : isas_up_to(cpu_features().best)) {
      if (isa == Isa::scalar) continue;
      ModelOptions forced = scalar;
      forced.isa = isa_name(isa);
      EXPECT_EQ(answer_together(GetParam(), forced), wanted) << forced.isa;
    }
    ModelOptions reference = options(4);
    reference.precision = precision;
    reference.backend = "reference";
    EXPECT_EQ(answer_together(GetParam(), reference), wanted) << "reference";
  }
}

// Keys and values in int8: the same promise.
TEST(EngineInt8Cache, IdsDoNotDependOnBatchChunksThreadsInstructionSetOrBackEnd) {
  for (const char* model : {"llama_heads_9_3", "qwen2_heads_14_2", "gpt_oss_mxfp4"}) {
    SCOPED_TRACE(model);
    const auto int8 = [](int64_t sequences, int64_t rows = 512, int threads = 1) {
      ModelOptions chosen = options(sequences, rows, threads);
      chosen.kv_type = KvType::int8;
      return chosen;
    };
    const auto wanted = answer_together(model, int8(4));
    EXPECT_EQ(answer_alone(model, int8(1)), wanted);
    EXPECT_EQ(answer_together(model, int8(10)), wanted);
    EXPECT_EQ(answer_together(model, int8(4, 7)), wanted);
    EXPECT_EQ(answer_together(model, int8(4, 33, 3)), wanted);
    ModelOptions scalar = int8(4);
    scalar.isa = "scalar";
    EXPECT_EQ(answer_together(model, scalar), wanted);
    ModelOptions reference = int8(4);
    reference.backend = "reference";
    EXPECT_EQ(answer_together(model, reference), wanted);
    // Fewer pages than all contexts, so that sequences are computed again; and nothing kept at all.
    ModelOptions small = int8(4);
    small.kv_tokens = 160;
    EXPECT_EQ(answer_together(model, small), wanted);
    ModelOptions forgetful = int8(4);
    forgetful.disabled = {"kv-cache"};
    EXPECT_EQ(answer_together(model, forgetful), wanted);
  }
}

TEST(EngineSeed, TheSeedDecides) {
  EngineDriver driver("llama_plain");
  const Ids prompt = random_prompt(10, 1);
  const Ids first = driver.answer(sampled(prompt, 24, 1)).ids;
  EXPECT_EQ(driver.answer(sampled(prompt, 24, 1)).ids, first);
  EXPECT_NE(driver.answer(sampled(prompt, 24, 2)).ids, first);
}

}  // namespace
}  // namespace dunlin
