// One request must not harm another: logits that are not numbers, sinks that throw, cancellation
// from everywhere.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <thread>

#include "engine_driver.h"
#include "hash_model.h"
#include "support/temporary_folder.h"

namespace dunlin {
namespace {

using Ids = std::vector<int32_t>;

constexpr const char* kIsolatedModel = "llama_plain";
constexpr int32_t kNanToken = 77;

// The tiny model with a NaN in the embedding of one token.
void write_model_with_nan(const TemporaryFolder& folder) {
  std::filesystem::copy(tiny_model_path(kIsolatedModel), folder.path());
  std::fstream file(folder.file("model.safetensors"),
                    std::ios::in | std::ios::out | std::ios::binary);
  uint64_t header_bytes = 0;
  file.read(reinterpret_cast<char*>(&header_bytes), sizeof header_bytes);
  std::string header(header_bytes, ' ');
  file.read(header.data(), static_cast<std::streamsize>(header_bytes));
  const auto tensor = nlohmann::json::parse(header)["model.embed_tokens.weight"];
  const auto row = tensor["data_offsets"][0].get<uint64_t>() +
                   kNanToken * tensor["shape"][1].get<uint64_t>() * sizeof(float);
  EXPECT_EQ(tensor["dtype"], "F32");
  file.seekp(static_cast<std::streamoff>(8 + header_bytes + row));
  const uint32_t nan = 0x7fc00000u;
  file.write(reinterpret_cast<const char*>(&nan), sizeof nan);
}

// Also a later request that gets the pages with the NaNs in them, and one that shares a page's
// beginning with the failed one.
TEST(NotANumber, FailsTheRequestAlone) {
  const TemporaryFolder folder;
  write_model_with_nan(folder);
  for (const char* backend : {"cpu", "reference"}) {
    for (const Precision precision : {Precision::automatic, Precision::exact, Precision::f32}) {
      const ModelOptions options = {
          .backend = backend, .precision = precision, .threads = 1, .context = 64, .sequences = 3};
      EngineDriver clean(kIsolatedModel, options);
      EngineDriver driver(folder.path(), options);
      for (int round = 0; round < 3; ++round) {
        Ids bad_prompt = random_prompt(20, 4);
        bad_prompt[17] = kNanToken;
        const auto seed = static_cast<uint32_t>(round);
        const Request good = sampled(random_prompt(9, seed), 30, seed);
        const Request also_good = greedy(random_prompt(21, seed + 9), 30);
        // The id with the NaN must not be drawn by the good ones.
        const auto ids_of = [](Request request) {
          request.sampling.logit_bias = {{kNanToken, -1000.0f}};
          return request;
        };
        const auto first = driver.submit(ids_of(good));
        const auto bad = driver.submit(greedy(bad_prompt, 8));
        const auto second = driver.submit(ids_of(also_good));
        driver.engine().run_until_idle();
        ASSERT_TRUE(bad->error.has_value());
        EXPECT_NE(bad->error->message.find("NaN"), std::string::npos) << bad->error->message;
        EXPECT_EQ(first->ids, clean.answer(ids_of(good)).ids) << backend;
        EXPECT_EQ(second->ids, clean.answer(ids_of(also_good)).ids) << backend;
      }
    }
  }
}

TEST(NotANumber, FailsInTheMiddleOfAnAnswer) {
  EngineDriver driver(make_hash_model());
  const auto good = driver.submit(greedy({1, 2, 3}, 20));
  const auto bad = driver.submit(greedy({1, 2, kPoison}, 20));
  driver.engine().run_until_idle();
  EXPECT_TRUE(bad->error.has_value());
  EXPECT_EQ(good->ids, EngineDriver(make_hash_model()).answer(greedy({1, 2, 3}, 20)).ids);
}

class ThrowingSink : public testing::Test {
 protected:
  // Throws at the event with this number.
  RequestId submit(int event, Event::Kind kind = Event::Kind::token) {
    return driver_.engine()
        .submit(greedy({4, 5, 6}, 10),
                [this, event, kind](const Event& got) {
                  ++events_;
                  if (events_ == event || (kind != Event::Kind::token && got.kind == kind))
                    throw std::runtime_error("sink");
                })
        .value();
  }

  int run_and_count_exceptions() {
    int exceptions = 0;
    for (bool more = true; more;) {
      try {
        more = driver_.engine().step();
      } catch (const std::runtime_error& error) {
        EXPECT_STREQ(error.what(), "sink");
        ++exceptions;
      }
    }
    return exceptions;
  }

  EngineDriver driver_{make_hash_model()};
  int events_ = 0;
};

TEST_F(ThrowingSink, LosesItsRequestAndNothingElse) {
  const Request request = greedy({1, 2, 3}, 20);
  const auto before = driver_.submit(request);
  submit(3);
  const auto after = driver_.submit(request);
  EXPECT_EQ(run_and_count_exceptions(), 1);
  EXPECT_EQ(events_, 3);
  const Ids wanted = EngineDriver(make_hash_model()).answer(request).ids;
  EXPECT_EQ(before->ids, wanted);
  EXPECT_EQ(after->ids, wanted);
  EXPECT_EQ(driver_.answer(request).ids, wanted);
}

TEST_F(ThrowingSink, MayThrowAtTheLastEventToo) {
  submit(0, Event::Kind::finished);
  EXPECT_EQ(run_and_count_exceptions(), 1);
  EXPECT_EQ(events_, 11);
  // Of a request that never ran.
  ASSERT_TRUE(driver_.engine()
                  .submit(greedy({1}, 0), [](const Event&) { throw std::runtime_error("sink"); })
                  .ok());
  EXPECT_EQ(run_and_count_exceptions(), 1);
  // All slots are free again.
  std::vector<std::shared_ptr<Answer>> answers;
  for (int i = 0; i < 4; ++i) answers.push_back(driver_.submit(greedy({7, 8}, 5)));
  driver_.engine().run_until_idle();
  for (const auto& answer : answers) EXPECT_EQ(answer->ids.size(), 5u);
}

TEST_F(ThrowingSink, SeveralInOneStepAreOneException) {
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(driver_.engine()
                    .submit(greedy({1}, 4), [](const Event&) { throw std::runtime_error("sink"); })
                    .ok());
  }
  EXPECT_EQ(run_and_count_exceptions(), 1);
}

// No event follows a cancel from the request's own events, not even the last one.
TEST(CancelFromEvents, NothingFollows) {
  for (const int at : {1, 4, 5}) {
    EngineDriver driver(make_hash_model());
    RequestId id = 0;
    int events = 0;
    id = driver.engine()
             .submit(greedy({1, 2}, 5),
                     [&](const Event&) {
                       if (++events == at) driver.engine().cancel(id);
                     })
             .value();
    driver.engine().run_until_idle();
    EXPECT_EQ(events, at);
  }
}

TEST(CancelFromEvents, OfAnotherRequestInTheSameStep) {
  EngineDriver driver(make_hash_model());
  RequestId other = 0;
  ASSERT_TRUE(driver.engine()
                  .submit(greedy({1, 2}, 5), [&](const Event&) { driver.engine().cancel(other); })
                  .ok());
  const auto answer = driver.submit(greedy({3}, 5));
  other = driver.last_id();
  driver.engine().run_until_idle();
  EXPECT_TRUE(answer->ids.empty());
  EXPECT_FALSE(answer->reason.has_value());
}

// Requests, cancellations and ends of sessions from other threads while the owner steps.
TEST(Threads, SubmitCancelAndEndSessionsWhileTheEngineRuns) {
  EngineDriver driver(make_hash_model({.kv_tokens = 160, .precision = Precision::exact}));
  Engine& engine = driver.engine();
  const auto request_of = [](uint32_t i) {
    Request request = greedy({static_cast<int32_t>(i % 60), 2, 3}, 10 + i % 30);
    request.session = i % 3;
    return request;
  };
  constexpr uint32_t kEach = 60;
  std::atomic<int> finished = 0, wrong = 0;
  std::vector<Ids> wanted;
  for (uint32_t i = 0; i < kEach; ++i)
    wanted.push_back(EngineDriver(make_hash_model()).answer(request_of(i)).ids);
  const auto client = [&] {
    for (uint32_t i = 0; i < kEach; ++i) {
      auto ids = std::make_shared<Ids>();
      const auto id = engine.submit(request_of(i), [&, i, ids](const Event& event) {
        if (event.token) ids->push_back(*event.token);
        if (event.kind != Event::Kind::finished) return;
        ++finished;
        if (*ids != wanted[i]) ++wrong;
      });
      if (i % 5 == 0) engine.cancel(*id);
      if (i % 7 == 0) engine.end_session(i % 3);
      std::this_thread::yield();
    }
  };
  std::atomic<int> clients = 2;
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      client();
      --clients;
    });
  }
  while (engine.step() || clients > 0) {
  }
  for (std::thread& thread : threads) thread.join();
  engine.run_until_idle();
  EXPECT_EQ(wrong, 0);
  EXPECT_GE(finished, static_cast<int>(2 * kEach * 4 / 5));
}

}  // namespace
}  // namespace dunlin
