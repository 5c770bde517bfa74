// The life of a request: what is refused, how the context ends an answer, waiting and cancelling.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine_driver.h"

namespace dunlin {
namespace {

using Ids = std::vector<int32_t>;

constexpr const char* kModel = "llama_plain";  // a vocabulary of 160

ModelOptions small(int64_t context = 48, int64_t sequences = 2) {
  return {.precision = Precision::f32, .threads = 1, .context = context, .sequences = sequences};
}

Error refusal(Request request) {
  EngineDriver driver(kModel, small());
  const auto id = driver.engine().submit(
      std::move(request), [](const Event&) { ADD_FAILURE() << "an event of a refused request"; });
  driver.engine().run_until_idle();
  return id.ok() ? Error{ErrorKind::runtime, "accepted"} : id.error();
}

void expect_refused(const Request& request, const std::string& part) {
  const Error error = refusal(request);
  EXPECT_EQ(error.kind, ErrorKind::usage) << error.message;
  EXPECT_NE(error.message.find(part), std::string::npos) << error.message;
}

TEST(Request, PromptsAreChecked) {
  expect_refused(greedy({}, 4), "empty");
  expect_refused(greedy({1, -1, 2}, 4), "-1");
  expect_refused(greedy({1, 160, 2}, 4), "160");
  expect_refused(greedy({std::numeric_limits<int32_t>::max()}, 4), "2147483647");
  expect_refused(greedy({1}, -2), "-2");
  Request stop = greedy({1}, 4);
  stop.stop = {"x"};
  expect_refused(stop, "tokenizer");
}

TEST(Request, SamplingParametersAreChecked) {
  const auto with = [](SamplingParams sampling) {
    Request request = greedy({1}, 4);
    request.sampling = std::move(sampling);
    return request;
  };
  expect_refused(with({.temperature = -1}), "temperature");
  expect_refused(with({.temperature = std::nanf("")}), "temperature");
  expect_refused(with({.top_k = -3}), "top_k");
  expect_refused(with({.top_p = 1.5f}), "top_p");
  expect_refused(with({.min_p = -0.5f}), "min_p");
  expect_refused(with({.repeat_penalty = 0}), "repeat_penalty");
  expect_refused(with({.logit_bias = {{160, 1.0f}}}), "logit_bias");
}

TEST(Context, APromptBeyondItNamesBothNumbers) {
  for (const size_t size : {48, 49, 500}) {
    expect_refused(greedy(random_prompt(size, 1), 1), std::to_string(size));
    expect_refused(greedy(random_prompt(size, 1), 1), "48");
  }
}

TEST(Context, BeyondTheModelsIsAnError) {
  const auto model = load_model(tiny_model_path(kModel), {.context = 513});
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.error().kind, ErrorKind::usage);
  EXPECT_NE(model.error().message.find("513"), std::string::npos) << model.error().message;
  EXPECT_NE(model.error().message.find("512"), std::string::npos) << model.error().message;
}

// The answer fills the context to its last position and says why it ended; a longer context gives
// the same beginning.
TEST(Context, IsFilledToTheLastToken) {
  EngineDriver longer(kModel, small(/*context=*/120));
  for (const size_t size : {1, 15, 16, 32, 46, 47}) {
    const Ids prompt = random_prompt(size, 2);
    const Ids wanted = longer.answer(greedy(prompt, 48 - static_cast<int64_t>(size))).ids;
    for (const int64_t max_tokens : {-1, 48, 1000}) {
      EngineDriver driver(kModel, small());
      const Answer answer = driver.answer(greedy(prompt, max_tokens));
      EXPECT_EQ(answer.ids, wanted) << size;
      EXPECT_EQ(answer.reason, FinishReason::length);
    }
  }
}

TEST(Request, NoTokensAreAnAnswerToo) {
  EngineDriver driver(kModel, small());
  const Answer answer = driver.answer(greedy(random_prompt(5, 1), 0));
  EXPECT_EQ(answer.reason, FinishReason::length);
  EXPECT_EQ(answer.ids, Ids());
  EXPECT_EQ(answer.stats.predicted_tokens, 0);
  EXPECT_EQ(driver.engine().stats().steps, 0);
  // Many of them in the queue end as well, and leave their slots.
  for (int i = 0; i < 5; ++i) driver.submit(greedy(random_prompt(5, 1), 0));
  driver.engine().run_until_idle();
  EXPECT_EQ(driver.answer(greedy(random_prompt(5, 1), 3)).ids.size(), 3u);
}

TEST(Request, StopIdsEndTheAnswerAndAreNotPartOfIt) {
  EngineDriver driver(kModel, small());
  const Ids all = driver.answer(greedy(random_prompt(5, 1), 12)).ids;
  Request request = greedy(random_prompt(5, 1), 12);
  request.stop_ids = {all[4]};
  const auto first = std::ranges::find(all, all[4]);
  const Answer answer = driver.answer(request);
  EXPECT_EQ(answer.ids, Ids(all.begin(), first));
  EXPECT_EQ(answer.reason, FinishReason::stop);
  EXPECT_EQ(answer.stats.predicted_tokens, static_cast<int64_t>(answer.ids.size()));
}

TEST(Request, TheModelsStopIdsCountUnlessIgnored) {
  EngineDriver driver(kModel, small());
  ASSERT_EQ(driver.model().stop_ids, (Ids{2, 5, 9}));
  Request request = greedy(random_prompt(5, 1), 12);
  request.sampling.logit_bias = {{9, 1000.0f}};
  EXPECT_EQ(driver.answer(request).ids, Ids(12, 9));
  request.ignore_eos = false;
  const Answer answer = driver.answer(request);
  EXPECT_EQ(answer.ids, Ids());
  EXPECT_EQ(answer.reason, FinishReason::stop);
}

// The time of the first token stays what it was when a stop id follows.
TEST(Request, TimingsSeparatePromptAndAnswer) {
  EngineDriver driver(kModel, small());
  const Ids all = driver.answer(greedy(random_prompt(5, 1), 2)).ids;
  ASSERT_NE(all[0], all[1]);
  Request request = greedy(random_prompt(5, 1), 12);
  request.stop_ids = {all[1]};
  const Answer answer = driver.answer(request);
  EXPECT_EQ(answer.ids.size(), 1u);
  EXPECT_GT(answer.stats.prompt_ms, 0);
  EXPECT_GT(answer.stats.predicted_ms, 0);
}

TEST(Queue, MoreRequestsThanSlotsWait) {
  EngineDriver driver(kModel, small(/*context=*/48, /*sequences=*/2));
  std::vector<std::shared_ptr<Answer>> answers;
  for (uint32_t i = 0; i < 9; ++i) answers.push_back(driver.submit(greedy(random_prompt(6, i), 5)));
  driver.engine().step();
  EXPECT_EQ(answers[1]->ids.size(), 1u);
  EXPECT_EQ(answers[2]->ids.size(), 0u);
  driver.engine().run_until_idle();
  for (uint32_t i = 0; i < 9; ++i) {
    EXPECT_EQ(answers[i]->ids,
              EngineDriver(kModel, small()).answer(greedy(random_prompt(6, i), 5)).ids);
  }
  EXPECT_FALSE(driver.engine().step());
}

class Cancel : public testing::Test {
 protected:
  EngineDriver driver_{kModel, small(/*context=*/48, /*sequences=*/2)};
};

TEST_F(Cancel, FreesTheSlotAndLeavesOthersAlone) {
  const auto one = driver_.submit(greedy(random_prompt(9, 1), 20));
  const RequestId cancelled = driver_.last_id();
  const auto two = driver_.submit(sampled(random_prompt(7, 2), 20, 5));
  const auto three = driver_.submit(greedy(random_prompt(5, 3), 20));
  for (int i = 0; i < 4; ++i) driver_.engine().step();
  driver_.engine().cancel(cancelled);
  driver_.engine().step();
  EXPECT_EQ(three->ids.size(), 1u);  // has the slot at once
  driver_.engine().run_until_idle();
  EXPECT_EQ(one->ids.size(), 4u);
  EXPECT_FALSE(one->reason.has_value());
  EngineDriver other(kModel, small());
  EXPECT_EQ(two->ids, other.answer(sampled(random_prompt(7, 2), 20, 5)).ids);
  EXPECT_EQ(three->ids, other.answer(greedy(random_prompt(5, 3), 20)).ids);
}

TEST_F(Cancel, WhileWaitingAndTwiceAndUnknown) {
  driver_.submit(greedy(random_prompt(9, 1), 6));
  driver_.submit(greedy(random_prompt(9, 2), 6));
  const auto waiting = driver_.submit(greedy(random_prompt(9, 3), 6));
  for (const RequestId id : {driver_.last_id(), driver_.last_id(), RequestId{999}})
    driver_.engine().cancel(id);
  driver_.engine().run_until_idle();
  EXPECT_EQ(waiting->ids.size(), 0u);
  EXPECT_FALSE(waiting->reason.has_value());
  EXPECT_EQ(driver_.answer(greedy(random_prompt(9, 3), 6)).ids.size(), 6u);
}

TEST_F(Cancel, InTheMiddleOfAPrompt) {
  ModelOptions options = small();
  options.rows = 4;
  EngineDriver driver(kModel, options);
  driver.submit(greedy(random_prompt(40, 1), 4));
  driver.engine().step();
  driver.engine().cancel(driver.last_id());
  driver.engine().run_until_idle();
  const Request request = greedy(random_prompt(40, 1), 8);
  EXPECT_EQ(driver.answer(request).ids, EngineDriver(kModel, small()).answer(request).ids);
}

TEST_F(Cancel, FromTheRequestsOwnEvents) {
  RequestId id = 0;
  int tokens = 0;
  id = driver_.engine()
           .submit(greedy(random_prompt(9, 1), 20),
                   [&](const Event&) {
                     if (++tokens == 3) driver_.engine().cancel(id);
                   })
           .value();
  driver_.engine().run_until_idle();
  EXPECT_EQ(tokens, 3);
}

}  // namespace
}  // namespace dunlin
