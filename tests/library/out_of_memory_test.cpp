// Memory that runs out at the n-th allocation, while a model loads and while it answers: a clear
// error or a whole answer, never a crash, and nothing is leaked. A sample of all n, spread over the
// whole run; every n with DUNLIN_EXHAUSTIVE=1 (the slow tests).
#include <dunlin/dunlin.h>
#include <dunlin/engine.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <new>
#include <string>

#include "failing_allocator.h"
#include "library_models.h"

namespace dunlin {
namespace {

constexpr int64_t kSamples = 150;

int64_t stride(int64_t allocations) {
  const char* exhaustive = std::getenv("DUNLIN_EXHAUSTIVE");
  if (exhaustive != nullptr && *exhaustive == '1') return 1;
  // Odd, so that no pattern of the program is always met in the same place.
  return std::max<int64_t>(1, allocations / kSamples) | 1;
}

bool is_clear(const Error& error) {
  return error.kind == ErrorKind::does_not_fit || error.message.find("thread") != std::string::npos;
}

// What happened to the answer, without any allocation of its own.
struct Outcome {
  int tokens = 0;
  bool finished = false;
  bool failed = false;
  bool clear = true;
};

struct Scenario {
  const std::string& path;
  const std::vector<ChatMessage>& messages;  // empty: the ids 1, 2, 3
  LoadOptions options = {};

  Result<Engine> load() const { return Engine::load(path, options); }

  Result<std::vector<int32_t>> prompt(const Engine& engine) const {
    if (!messages.empty()) return engine.encode_chat(messages);
    try {
      return std::vector<int32_t>{1, 2, 3};
    } catch (const std::bad_alloc&) {  // the test's own
      return Error{ErrorKind::does_not_fit, "test"};
    }
  }

  // Errors of submit() go into the outcome too.
  void answer(Engine& engine, Outcome& outcome) const {
    auto ids = prompt(engine);
    if (!ids.ok()) return fail(ids.error(), outcome);
    Request request{.prompt = *std::move(ids),
                    .sampling = {.temperature = 1, .repeat_penalty = 1.1f, .seed = 1},
                    .max_tokens = 20,
                    .ignore_eos = true};
    const auto submitted = engine.submit(std::move(request), [&outcome](const Event& event) {
      if (event.token) ++outcome.tokens;
      if (event.kind == Event::Kind::finished) outcome.finished = true;
      if (event.error) fail(*event.error, outcome);
    });
    if (!submitted.ok()) return fail(submitted.error(), outcome);
    engine.run_until_idle();
  }

  static void fail(const Error& error, Outcome& outcome) {
    outcome.failed = true;
    outcome.clear = is_clear(error);
  }
};

struct ModelCase {
  const char* name;
  std::string (*path)();
};

class OutOfMemory : public testing::TestWithParam<ModelCase> {
 protected:
  void SetUp() override {
    // What the C and C++ libraries allocate once and keep.
    for (int i = 0; i < 2; ++i) {
      Engine engine = scenario_.load().value();
      Outcome outcome;
      scenario_.answer(engine, outcome);
      ASSERT_TRUE(outcome.finished);
    }
  }

  const std::string path_ = GetParam().path();
  const std::vector<ChatMessage> messages_ =
      GetParam().path == ids_model ? std::vector<ChatMessage>{}
                                   : std::vector<ChatMessage>{{"user", "Hello there"}};
  const Scenario scenario_{path_, messages_, {.threads = 2, .context = 64, .sequences = 2}};
};
INSTANTIATE_TEST_SUITE_P(Models, OutOfMemory,
                         testing::Values(ModelCase{"ids", ids_model}, ModelCase{"text", text_model},
                                         ModelCase{"pattern", pattern_model}),
                         [](const auto& info) { return info.param.name; });

TEST_P(OutOfMemory, WhileLoading) {
  arm_allocator(0, FailMode::once);
  {
    const auto engine = scenario_.load();
  }
  const int64_t allocations = disarm_allocator();
  ASSERT_GT(allocations, 500);
  int64_t loaded = 0;
  for (const FailMode mode : {FailMode::once, FailMode::onwards}) {
    for (int64_t n = 1; n <= allocations; n += stride(allocations)) {
      const int64_t before = live_blocks();
      {
        arm_allocator(n, mode);
        const auto engine = scenario_.load();
        disarm_allocator();
        if (engine.ok()) {
          ++loaded;
        } else {
          ASSERT_TRUE(is_clear(engine.error())) << n << ": " << engine.error().message;
        }
      }
      ASSERT_EQ(live_blocks(), before) << n;
    }
  }
  EXPECT_LT(loaded, 40);  // only what nothing depends on may fail unnoticed
}

TEST_P(OutOfMemory, WhileAnswering) {
  Engine engine = scenario_.load().value();
  Outcome whole;
  arm_allocator(0, FailMode::once);
  scenario_.answer(engine, whole);
  const int64_t allocations = disarm_allocator();
  ASSERT_TRUE(whole.finished);
  ASSERT_GT(allocations, 5);
  for (const FailMode mode : {FailMode::once, FailMode::onwards}) {
    for (int64_t n = 1; n <= allocations; n += stride(allocations)) {
      const int64_t before = live_blocks();
      {
        Outcome outcome;
        arm_allocator(n, mode);
        scenario_.answer(engine, outcome);
        disarm_allocator();
        ASSERT_NE(outcome.finished, outcome.failed) << n;
        ASSERT_TRUE(outcome.clear) << n;
        ASSERT_TRUE(outcome.failed || outcome.tokens == whole.tokens) << n;
      }
      ASSERT_EQ(live_blocks(), before) << n;
    }
  }
  // The engine is as good as new.
  Outcome again;
  scenario_.answer(engine, again);
  EXPECT_TRUE(again.finished);
  EXPECT_EQ(again.tokens, whole.tokens);
}

// One of two requests may fail; the other has all its tokens.
TEST(OutOfMemoryBatch, WhoeverAllocatesFailsAlone) {
  Engine engine = Engine::load(ids_model(), {.threads = 1, .context = 64, .sequences = 2}).value();
  const auto submit = [&](Outcome& outcome, int32_t first) {
    const auto submitted = engine.submit({.prompt = {first, 2, 3},
                                          .sampling = {.temperature = 1},
                                          .max_tokens = 30,
                                          .ignore_eos = true},
                                         [&outcome](const Event& event) {
                                           if (event.token) ++outcome.tokens;
                                           if (event.kind == Event::Kind::finished)
                                             outcome.finished = true;
                                           if (event.error) Scenario::fail(*event.error, outcome);
                                         });
    ASSERT_TRUE(submitted.ok());
  };
  int failures = 0;
  for (int64_t n = 1; n < 60; ++n) {
    Outcome first, second;
    submit(first, 1);
    submit(second, 7);
    arm_allocator(n, FailMode::once);
    engine.run_until_idle();
    disarm_allocator();
    failures += static_cast<int>(first.failed) + static_cast<int>(second.failed);
    ASSERT_FALSE(first.failed && second.failed) << n;
    ASSERT_TRUE(first.clear && second.clear);
    ASSERT_TRUE(first.failed || first.tokens == 30) << n;
    ASSERT_TRUE(second.failed || second.tokens == 30) << n;
  }
  EXPECT_GT(failures, 3);
}

TEST(OutOfMemoryC, IsAStatus) {
  const std::string path = ids_model();
  dunlin_engine* first = nullptr;  // what the C and C++ libraries allocate once and keep
  ASSERT_EQ(dunlin_engine_load(path.c_str(), nullptr, &first), DUNLIN_OK);
  dunlin_engine_free(first);
  int64_t failures = 0;
  for (int64_t n = 1; n < 2000; n += 37) {
    const int64_t before = live_blocks();
    dunlin_engine* engine = nullptr;
    arm_allocator(n, FailMode::onwards);
    const dunlin_status status = dunlin_engine_load(path.c_str(), nullptr, &engine);
    disarm_allocator();
    if (status != DUNLIN_OK) {
      ++failures;
      EXPECT_EQ(engine, nullptr);
      EXPECT_STRNE(dunlin_last_error(), "");
    }
    dunlin_engine_free(engine);
    ASSERT_EQ(live_blocks(), before) << n;
  }
  EXPECT_GT(failures, 5);
}

}  // namespace
}  // namespace dunlin
