// More sequences than pages: requests wait for each other, are preempted and computed again, and
// every answer is the one that the request has alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "engine_driver.h"
#include "hash_model.h"

namespace dunlin {
namespace {

using Ids = std::vector<int32_t>;

Ids hash_prompt(size_t size, uint32_t seed) {
  Ids prompt = random_prompt(size, seed);
  for (int32_t& id : prompt) id %= kPoison;
  return prompt;
}

Request hash_request(size_t prompt, int64_t max_tokens, uint32_t seed) {
  return sampled(hash_prompt(prompt, seed), max_tokens, seed);
}

Ids ids_alone(const HashModelOptions& options, const Request& request) {
  HashModelOptions roomy = options;
  roomy.kv_tokens = 0;
  EngineDriver driver(make_hash_model(roomy));
  Request alone = request;
  alone.session = 0;
  return driver.answer(alone).ids;
}

class Pressure : public testing::TestWithParam<std::tuple<Precision, std::vector<int64_t>>> {
 protected:
  HashModelOptions options(int64_t kv_tokens) const {
    return {.kv_tokens = kv_tokens,
            .windows = std::get<1>(GetParam()),
            .precision = std::get<0>(GetParam())};
  }
};
INSTANTIATE_TEST_SUITE_P(All, Pressure,
                         testing::Combine(testing::Values(Precision::automatic, Precision::exact),
                                          testing::Values(std::vector<int64_t>{0},
                                                          std::vector<int64_t>{0, 24},
                                                          std::vector<int64_t>{40})));

// One context of pages for four sequences that each want most of one.
TEST_P(Pressure, AnswersAreThoseOfARequestAlone) {
  EngineDriver driver(make_hash_model(options(/*kv_tokens=*/128)));
  std::vector<Request> requests;
  std::vector<std::shared_ptr<Answer>> answers;
  for (uint32_t i = 0; i < 12; ++i) {
    requests.push_back(hash_request(3 + 9 * (i % 5), 80 - i, i % 7));
    answers.push_back(driver.submit(requests.back()));
  }
  driver.engine().run_until_idle();
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(answers[i]->reason, FinishReason::length);
    EXPECT_EQ(answers[i]->ids, ids_alone(options(0), requests[i])) << i;
    EXPECT_EQ(answers[i]->stats.prompt_tokens, std::ssize(requests[i].prompt));
  }
  const bool grows = std::ranges::count(std::get<1>(GetParam()), 0) > 0;
  EXPECT_EQ(driver.engine().stats().preemptions > 0, grows);
}

// A preempted session had rows of its own: they are computed again in the classes they had.
TEST_P(Pressure, APreemptedSessionKeepsItsBits) {
  const auto two_turns = [&](int64_t kv_tokens, int64_t* preemptions) {
    EngineDriver driver(make_hash_model(options(kv_tokens)));
    const auto turn = [&](Ids prompt, int64_t max_tokens, uint32_t seed) {
      Request request = sampled(std::move(prompt), max_tokens, seed);
      request.session = 5;
      return request;
    };
    Ids tokens = hash_prompt(20, 1);
    const Ids first = driver.answer(turn(tokens, 20, 1)).ids;
    tokens.insert(tokens.end(), first.begin(), first.end());
    tokens.insert(tokens.end(), {1, 2, 3, 4, 5});
    std::vector<std::shared_ptr<Answer>> others;
    if (kv_tokens > 0) {
      // Older than the second turn, and two fill the pool.
      others.push_back(driver.submit(hash_request(10, 100, 2)));
      driver.engine().step();
    }
    const auto second = driver.submit(turn(tokens, 60, 3));
    driver.engine().run_until_idle();
    if (preemptions != nullptr) *preemptions = driver.engine().stats().preemptions;
    return second->ids;
  };
  int64_t preemptions = 0;
  EXPECT_EQ(two_turns(128, &preemptions), two_turns(0, nullptr));
  const bool grows = std::ranges::count(std::get<1>(GetParam()), 0) > 0;
  EXPECT_EQ(preemptions > 0, grows);
}

// The oldest request is never preempted, so requests end in order when all are alike.
TEST(Preemption, TheOldestRunsThrough) {
  EngineDriver driver(make_hash_model({.kv_tokens = 128}));
  std::vector<int> finished;
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(driver.engine()
                    .submit(hash_request(20, 90, static_cast<uint32_t>(i)),
                            [&finished, i](const Event& event) {
                              if (event.kind == Event::Kind::finished) finished.push_back(i);
                            })
                    .ok());
  }
  driver.engine().run_until_idle();
  EXPECT_EQ(finished, (std::vector<int>{0, 1, 2, 3, 4, 5}));
  EXPECT_GT(driver.engine().stats().preemptions, 0);
}

// Without a shortage nothing is computed twice.
TEST(Preemption, DoesNotHappenWithARoomyPool) {
  EngineDriver driver(make_hash_model());
  for (uint32_t i = 0; i < 4; ++i) driver.submit(hash_request(20, 50, i));
  driver.engine().run_until_idle();
  EXPECT_EQ(driver.engine().stats().preemptions, 0);
  EXPECT_EQ(hash_model_counts(driver.model()).prompt, 4 * 20);
  EXPECT_EQ(hash_model_counts(driver.model()).generated, 4 * 49);
}

// A request that begins has room for its tokens: what waits does not make others compute again.
TEST(Preemption, AWaitingPromptDoesNotPushOutARunningOne) {
  EngineDriver driver(make_hash_model({.kv_tokens = 128}));
  const auto running = driver.submit(hash_request(90, 20, 1));
  driver.engine().step();
  const auto waiting = driver.submit(hash_request(60, 5, 2));
  while (!running->reason) driver.engine().step();
  EXPECT_TRUE(waiting->ids.empty());
  driver.engine().run_until_idle();
  EXPECT_EQ(waiting->ids.size(), 5u);
  EXPECT_EQ(driver.engine().stats().preemptions, 0);
}

TEST(Preemption, CancellingARequestFreesItsPagesInTheSameStep) {
  EngineDriver driver(make_hash_model({.kv_tokens = 128}));
  driver.submit(hash_request(100, 20, 1));
  const RequestId first = driver.last_id();
  const auto second = driver.submit(hash_request(60, 5, 2));
  for (int i = 0; i < 5; ++i) driver.engine().step();
  EXPECT_TRUE(second->ids.empty());
  driver.engine().cancel(first);
  driver.engine().step();
  EXPECT_EQ(second->ids.size(), 1u);
}

TEST(Preemption, APoolSmallerThanOneContextIsRefused) {
  const auto model = load_model(tiny_model_path("llama_plain"), {.context = 64, .kv_tokens = 63});
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.error().kind, ErrorKind::usage);
  EXPECT_NE(model.error().message.find("63"), std::string::npos) << model.error().message;
}

// Arrivals, cancellations, sessions and their ends at random, under pressure: whoever finishes has
// the answer of a request alone, and nothing is left behind.
TEST_P(Pressure, RandomHistory) {
  std::mt19937 random(static_cast<uint32_t>(std::get<1>(GetParam()).size()) + 11);
  EngineDriver driver(make_hash_model(options(/*kv_tokens=*/160)));
  struct Entry {
    Request request = {};
    std::shared_ptr<Answer> answer = {};
    RequestId id = 0;
    bool cancelled = false;
  };
  std::vector<Entry> entries;
  for (int step = 0; step < 1500; ++step) {
    const uint32_t choice = random() % 16;
    if (choice < 3 && entries.size() < 150) {
      const auto max_tokens = static_cast<int64_t>(1 + random() % 37);
      Entry entry{.request = hash_request(1 + random() % 90, max_tokens,
                                          static_cast<uint32_t>(random() % 6))};
      if (random() % 3 == 0) entry.request.session = 1 + random() % 3;
      // A session's own rows may differ in class from a cold prefill: only `exact` promises ids.
      if (std::get<0>(GetParam()) == Precision::automatic) entry.request.session = 0;
      entry.answer = driver.submit(entry.request);
      entry.id = driver.last_id();
      entries.push_back(std::move(entry));
    } else if (choice == 3 && !entries.empty()) {
      Entry& entry = entries[random() % entries.size()];
      driver.engine().cancel(entry.id);
      entry.cancelled = true;
    } else if (choice == 4) {
      driver.engine().end_session(1 + random() % 3);
    } else {
      driver.engine().step();
    }
  }
  driver.engine().run_until_idle();
  for (const Entry& entry : entries) {
    if (entry.cancelled && !entry.answer->reason) continue;
    ASSERT_TRUE(entry.answer->reason.has_value());
    EXPECT_EQ(entry.answer->ids, ids_alone(options(0), entry.request));
  }
}

}  // namespace
}  // namespace dunlin
