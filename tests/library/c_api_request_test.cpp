// The C API's requests: streaming, samplers, cancellation from another thread, exceptions.
#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <thread>

#include "c_api_driver.h"
#include "library_models.h"

namespace {

class CApi : public testing::Test {
 protected:
  dunlin_status generate(const Ids& prompt, int64_t max_tokens, Collected& collected,
                         dunlin_sampler sampler = nullptr) {
    dunlin_request request = request_of(prompt, sampling_, max_tokens, collected);
    request.sampler = sampler;
    return dunlin_generate(engine_.get(), &request);
  }
  Ids ids(const Ids& prompt, int64_t max_tokens, dunlin_sampler sampler = nullptr) {
    Collected collected;
    EXPECT_EQ(generate(prompt, max_tokens, collected, sampler), DUNLIN_OK) << dunlin_last_error();
    return collected.ids;
  }

  dunlin_sampling sampling_ = greedy();
  EnginePtr engine_ = load(ids_model());
};

TEST_F(CApi, GeneratesAndCounts) {
  Collected collected;
  ASSERT_EQ(generate({1, 2, 3}, 8, collected), DUNLIN_OK);
  EXPECT_EQ(collected.ids.size(), 8u);
  EXPECT_EQ(collected.events, 9);
  EXPECT_EQ(collected.last.kind, DUNLIN_EVENT_FINISHED);
  EXPECT_EQ(collected.last.finish_reason, DUNLIN_FINISH_LENGTH);
  EXPECT_EQ(collected.last.prompt_tokens, 3);
  EXPECT_EQ(collected.last.predicted_tokens, 8);
  EXPECT_NE(collected.last.request, 0u);
  EXPECT_EQ(ids({1, 2, 3}, 8), collected.ids);
}

TEST_F(CApi, ParametersReachTheSampler) {
  const Ids wanted = ids({1, 2, 3}, 4);
  const dunlin_logit_bias bias = {77, 1000.0f};
  sampling_.logit_bias = &bias;
  sampling_.logit_bias_count = 1;
  EXPECT_EQ(ids({1, 2, 3}, 4), Ids(4, 77));
  sampling_ = greedy();
  sampling_.temperature = 1;
  const Ids sampled = ids({1, 2, 3}, 4);
  EXPECT_NE(sampled, wanted);
  sampling_.seed = 1;
  EXPECT_NE(ids({1, 2, 3}, 4), sampled);
}

TEST_F(CApi, WrongRequestsAreUsageErrors) {
  Collected collected;
  EXPECT_EQ(generate({}, 8, collected), DUNLIN_ERROR_USAGE);
  EXPECT_EQ(generate({1, 160}, 8, collected), DUNLIN_ERROR_USAGE);
  EXPECT_NE(std::string(dunlin_last_error()).find("160"), std::string::npos);
  EXPECT_EQ(generate(Ids(600, 1), 8, collected), DUNLIN_ERROR_USAGE);
  sampling_.top_p = 2;
  EXPECT_EQ(generate({1}, 8, collected), DUNLIN_ERROR_USAGE);
  sampling_ = greedy();
  dunlin_request request = request_of({}, sampling_, 8, collected);
  request.prompt = nullptr;
  request.prompt_count = 3;
  EXPECT_EQ(dunlin_submit(engine_.get(), &request, nullptr), DUNLIN_ERROR_USAGE);
  EXPECT_EQ(dunlin_submit(engine_.get(), nullptr, nullptr), DUNLIN_ERROR_USAGE);
  EXPECT_EQ(dunlin_submit(nullptr, &request, nullptr), DUNLIN_ERROR_USAGE);
  EXPECT_EQ(dunlin_generate(nullptr, &request), DUNLIN_ERROR_USAGE);
  EXPECT_EQ(dunlin_step(nullptr, nullptr), DUNLIN_ERROR_USAGE);
  EXPECT_EQ(dunlin_cancel(nullptr, 1), DUNLIN_ERROR_USAGE);
  const Ids prompt = {1};
  request = request_of(prompt, sampling_, 8, collected);
  request.reserved = 1;  // of a newer header
  EXPECT_EQ(dunlin_submit(engine_.get(), &request, nullptr), DUNLIN_ERROR_USAGE);
  EXPECT_EQ(collected.events, 0);
}

TEST_F(CApi, SubmitAndStep) {
  const Ids wanted = ids({1, 2, 3}, 8);
  Collected first, second;
  const Ids prompt = {1, 2, 3};
  uint64_t first_id = 0, second_id = 0;
  dunlin_request request = request_of(prompt, sampling_, 8, first);
  ASSERT_EQ(dunlin_submit(engine_.get(), &request, &first_id), DUNLIN_OK);
  request.user = &second;
  ASSERT_EQ(dunlin_submit(engine_.get(), &request, &second_id), DUNLIN_OK);
  EXPECT_NE(first_id, second_id);
  int32_t more = 1;
  while (more) ASSERT_EQ(dunlin_step(engine_.get(), &more), DUNLIN_OK);
  EXPECT_EQ(first.ids, wanted);
  EXPECT_EQ(second.ids, wanted);
  EXPECT_EQ(dunlin_run_until_idle(engine_.get()), DUNLIN_OK);
}

TEST_F(CApi, ACallbackCancelsItsRequest) {
  Collected collected;
  collected.stop_after = 3;
  EXPECT_EQ(generate({1, 2, 3}, 100, collected), DUNLIN_ERROR_CANCELLED);
  EXPECT_EQ(collected.events, 3);
  EXPECT_EQ(ids({1, 2, 3}, 2).size(), 2u);
}

TEST_F(CApi, CancelFromAnotherThread) {
  Collected collected;
  const Ids prompt = {1, 2, 3};
  std::atomic<uint64_t> id = 0;
  struct Watch {
    std::atomic<uint64_t>* id;
    int events = 0;
  } watch{&id};
  dunlin_request request = request_of(prompt, sampling_, 400, collected);
  request.user = &watch;
  request.on_event = [](void* user, const dunlin_event* event) {
    auto& seen = *static_cast<Watch*>(user);
    if (++seen.events == 3) *seen.id = event->request;
    return 0;
  };
  std::thread other([&] {
    while (id == 0) std::this_thread::yield();
    EXPECT_EQ(dunlin_cancel(engine_.get(), id), DUNLIN_OK);
  });
  EXPECT_EQ(dunlin_generate(engine_.get(), &request), DUNLIN_ERROR_CANCELLED);
  other.join();
  EXPECT_GE(watch.events, 3);
  EXPECT_LT(watch.events, 400);
}

TEST_F(CApi, TheEngineIsFreedAfterACancelFromAnotherThread) {
  Collected collected;
  const Ids prompt = {1, 2, 3};
  const dunlin_request request = request_of(prompt, sampling_, 400, collected);
  uint64_t id = 0;
  ASSERT_EQ(dunlin_submit(engine_.get(), &request, &id), DUNLIN_OK);
  ASSERT_EQ(dunlin_step(engine_.get(), nullptr), DUNLIN_OK);
  std::thread([&] { EXPECT_EQ(dunlin_cancel(engine_.get(), id), DUNLIN_OK); }).join();
  engine_.reset();
  EXPECT_EQ(collected.events, 1);
}

TEST_F(CApi, OneThreadSteps) {
  struct Nested {
    dunlin_engine* engine;
    dunlin_status step = DUNLIN_OK, generate = DUNLIN_OK;
  } nested{engine_.get()};
  Collected collected;
  const Ids prompt = {1};
  dunlin_request request = request_of(prompt, sampling_, 1, collected);
  request.user = &nested;
  request.on_event = [](void* user, const dunlin_event*) {
    auto& self = *static_cast<Nested*>(user);
    self.step = dunlin_step(self.engine, nullptr);
    self.generate = dunlin_run_until_idle(self.engine);
    return 0;
  };
  EXPECT_EQ(dunlin_generate(engine_.get(), &request), DUNLIN_OK);
  EXPECT_EQ(nested.step, DUNLIN_ERROR_USAGE);
  EXPECT_EQ(nested.generate, DUNLIN_ERROR_USAGE);
  EXPECT_EQ(dunlin_step(engine_.get(), nullptr), DUNLIN_OK);
}

// A C++ program may pass functions that throw: no exception comes back through the C API.
TEST_F(CApi, ExceptionsOfCallbacksBecomeStatuses) {
  Collected collected;
  const Ids prompt = {1};
  dunlin_request request = request_of(prompt, sampling_, 5, collected);
  request.on_event = [](void*, const dunlin_event*) -> int {
    throw std::runtime_error("callback");
  };
  EXPECT_EQ(dunlin_generate(engine_.get(), &request), DUNLIN_ERROR_RUNTIME);
  EXPECT_STREQ(dunlin_last_error(), "callback");
  request.on_event = [](void*, const dunlin_event*) -> int { throw 5; };
  EXPECT_EQ(dunlin_generate(engine_.get(), &request), DUNLIN_ERROR_RUNTIME);
  EXPECT_EQ(ids({1, 2, 3}, 2).size(), 2u);
}

int32_t best_of_row(void*, const dunlin_logits* logits) {
  EXPECT_EQ(logits->struct_size, sizeof *logits);
  EXPECT_EQ(logits->prompt_count, 3u);
  EXPECT_GE(logits->candidate_count, 1u);
  size_t count = 0;
  const float* row = dunlin_logits_row(logits, &count);
  EXPECT_EQ(count, 160u);
  const auto best = static_cast<int32_t>(std::max_element(row, row + count) - row);
  EXPECT_EQ(best, logits->ids[0]);
  EXPECT_EQ(row[best], logits->logits[0]);
  return best;
}

TEST_F(CApi, CustomSampler) {
  const Ids wanted = ids({1, 2, 3}, 6);
  sampling_.temperature = 5;
  EXPECT_NE(ids({1, 2, 3}, 6), wanted);
  EXPECT_EQ(ids({1, 2, 3}, 6, best_of_row), wanted);
  sampling_ = greedy();
  EXPECT_EQ(ids({1, 2, 3}, 6, [](void*, const dunlin_logits*) { return -1; }), wanted);
  Collected collected;
  EXPECT_EQ(generate({1, 2, 3}, 6, collected, [](void*, const dunlin_logits*) { return -2; }),
            DUNLIN_ERROR_USAGE);
  EXPECT_EQ(collected.last.kind, DUNLIN_EVENT_FAILED);
  EXPECT_EQ(collected.last.status, DUNLIN_ERROR_USAGE);
  EXPECT_EQ(collected.error, dunlin_last_error());
}

TEST(CApiLogits, NoRowWithoutLogits) {
  size_t count = 7;
  EXPECT_EQ(dunlin_logits_row(nullptr, &count), nullptr);
  EXPECT_EQ(count, 0u);
}

TEST_F(CApi, SessionsContinueAndEnd) {
  Collected first, second, third;
  Ids tokens = {1, 2, 3, 4, 5};
  dunlin_request request = request_of(tokens, sampling_, 4, first);
  request.session = 9;
  ASSERT_EQ(dunlin_generate(engine_.get(), &request), DUNLIN_OK);
  tokens.insert(tokens.end(), first.ids.begin(), first.ids.end());
  tokens.push_back(6);
  request = request_of(tokens, sampling_, 4, second);
  request.session = 9;
  ASSERT_EQ(dunlin_generate(engine_.get(), &request), DUNLIN_OK);
  EXPECT_EQ(second.last.cached_tokens, 8);
  ASSERT_EQ(dunlin_end_session(engine_.get(), 9), DUNLIN_OK);
  request = request_of(tokens, sampling_, 4, third);
  ASSERT_EQ(dunlin_generate(engine_.get(), &request), DUNLIN_OK);
  EXPECT_EQ(third.last.cached_tokens, 0);
  EXPECT_EQ(third.ids, second.ids);
}

TEST(CApiFree, NullIsIgnoredAndRequestsAreDropped) {
  dunlin_engine_free(nullptr);
  Collected collected;
  {
    const EnginePtr engine = load(ids_model());
    const dunlin_sampling sampling = greedy();
    const Ids prompt = {1};
    const dunlin_request request = request_of(prompt, sampling, 100, collected);
    ASSERT_EQ(dunlin_submit(engine.get(), &request, nullptr), DUNLIN_OK);
    ASSERT_EQ(dunlin_step(engine.get(), nullptr), DUNLIN_OK);
  }
  EXPECT_EQ(collected.events, 1);
}

}  // namespace
