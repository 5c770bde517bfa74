// The public C++ API as an application sees it: nothing but <dunlin/...> is included.
#include <dunlin/engine.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <stdexcept>
#include <thread>
#include <type_traits>

#include "library_models.h"
#include "support/saved_environment.h"
#include "support/temporary_folder.h"

namespace {

using dunlin::Engine;
using dunlin::ErrorKind;
using dunlin::Event;
using Ids = std::vector<int32_t>;

static_assert(std::is_nothrow_move_constructible_v<Engine>);
static_assert(!std::is_copy_constructible_v<Engine>);

Engine load(const std::string& path = ids_model(), dunlin::LoadOptions options = {}) {
  options.threads = 1;
  return Engine::load(path, options).value();
}

struct Collected {
  Ids ids = {};
  std::string text = {};
  std::optional<Event> last = {};
  int events = 0;
};

dunlin::EventSink into(Collected& collected) {
  return [&collected](const Event& event) {
    ++collected.events;
    collected.text += event.text;
    if (event.token) collected.ids.push_back(*event.token);
    if (event.kind != Event::Kind::token) collected.last = event;
  };
}

dunlin::Request greedy(Ids prompt, int64_t max_tokens) {
  return {.prompt = std::move(prompt),
          .sampling = {.temperature = 0},
          .max_tokens = max_tokens,
          .ignore_eos = true};
}

Ids answer(Engine& engine, dunlin::Request request) {
  Collected collected;
  EXPECT_TRUE(engine.submit(std::move(request), into(collected)).ok());
  engine.run_until_idle();
  return collected.ids;
}

TEST(Library, AModelIsEncodedWhileItIsLoaded) {
  const uint64_t plain = load().model().weights_bytes;
  Engine engine = load(ids_model(), {.quantize = "Q8_0"});
  EXPECT_LT(engine.model().weights_bytes, plain / 2);
  EXPECT_EQ(answer(engine, greedy({3, 4, 5}, 6)).size(), 6u);
  const auto wrong = Engine::load(ids_model(), {.quantize = "Q9_9"});
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.error().kind, ErrorKind::usage);
}

TEST(Library, KeepsKeysAndValuesInInt8WhereItIsAsked) {
  Engine plain = load(ids_model(), {.context = 64});
  Engine int8 = load(ids_model(), {.kv_type = dunlin::KvType::int8, .context = 64});
  EXPECT_LT(int8.model().kv_bytes, plain.model().kv_bytes);
  Engine reference =
      load(ids_model(), {.backend = "reference", .kv_type = dunlin::KvType::int8, .context = 64});
  EXPECT_EQ(answer(int8, greedy({3, 4, 5}, 20)), answer(reference, greedy({3, 4, 5}, 20)));
  const auto wrong = Engine::load(
      ids_model(), {.precision = dunlin::Precision::f32, .kv_type = dunlin::KvType::int8});
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.error().kind, ErrorKind::usage);
}

// The test's model is too small to be kept; what is wrong with the folder is told whatever its size.
TEST(Library, APackCacheThatIsOfNoUseIsAWarning) {
  const Ids wanted = [] {
    Engine engine = load();
    return answer(engine, greedy({3, 4, 5}, 6));
  }();
  const dunlin::TemporaryFolder folder;
  std::filesystem::permissions(folder.path(), std::filesystem::perms::all);
  testing::internal::CaptureStderr();
  Engine engine = load(ids_model(), {.pack_cache = folder.path()});
  const std::string printed = testing::internal::GetCapturedStderr();
  EXPECT_NE(printed.find("warning: packed weights are not kept: " + folder.path()),
            std::string::npos)
      << printed;
  EXPECT_EQ(answer(engine, greedy({3, 4, 5}, 6)), wanted);
}

TEST(Library, OffloadHasTheSameTokens) {
  const Ids wanted = [] {
    Engine engine = load();
    return answer(engine, greedy({3, 4, 5}, 6));
  }();
  {
    const dunlin::TemporaryFolder folder;
    const dunlin::SavedEnvironment environment("DUNLIN_MEMORY_BUDGET", "0");
    for (int start = 0; start < 2; ++start) {
      Engine engine = load(ids_model(), {.pack_cache = folder.path(), .offload = true});
      EXPECT_EQ(answer(engine, greedy({3, 4, 5}, 6)), wanted) << start;
      EXPECT_FALSE(std::filesystem::is_empty(folder.path())) << start;
    }
  }
  const auto nowhere = Engine::load(ids_model(), {.offload = true});
  ASSERT_FALSE(nowhere.ok());
  EXPECT_EQ(nowhere.error().kind, ErrorKind::usage);
  const auto slow = Engine::load(ids_model(), {.backend = "reference", .offload = true});
  ASSERT_FALSE(slow.ok());
  EXPECT_EQ(slow.error().kind, ErrorKind::usage);
}

TEST(Library, LoadErrorsAreResults) {
  const auto missing = Engine::load("/no/such/model");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().kind, ErrorKind::model);
  EXPECT_NE(missing.error().message.find("/no/such/model"), std::string::npos);
  const auto context = Engine::load(ids_model(), {.context = 1000000});
  ASSERT_FALSE(context.ok());
  EXPECT_EQ(context.error().kind, ErrorKind::usage);
  for (const int threads : {-1, 100000})
    EXPECT_EQ(Engine::load(ids_model(), {.threads = threads}).error().kind, ErrorKind::usage);
  for (const int64_t count : {int64_t{-1}, int64_t{0}, INT64_MAX}) {
    EXPECT_FALSE(Engine::load(ids_model(), {.sequences = count}).ok()) << count;
    // Rows beyond the context are cut, and no context means the model's.
    EXPECT_EQ(Engine::load(ids_model(), {.rows = count}).ok(), count > 0) << count;
    EXPECT_EQ(Engine::load(ids_model(), {.context = count}).ok(), count == 0) << count;
  }
}

TEST(Library, PluginsAreForTheBackEndPjrt) {
  EXPECT_EQ(Engine::load(ids_model(), {.device = "gpu"}).error().kind, ErrorKind::usage);
  EXPECT_EQ(Engine::load(ids_model(), {.isolate = "/no/such/dunlin"}).error().kind,
            ErrorKind::usage);
  const auto unknown = Engine::load(ids_model(), {.backend = "pjrt", .device = "/no/plugin.so"});
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().kind, ErrorKind::device);
  const auto isolated = Engine::load(
      ids_model(), {.backend = "pjrt", .device = "/no/plugin.so", .isolate = "/no/such/dunlin"});
  ASSERT_FALSE(isolated.ok());
  EXPECT_EQ(isolated.error().kind, ErrorKind::device);
  // A build without the back end says that of both.
  if (unknown.error().message.find("/no/plugin.so") != std::string::npos) {
    EXPECT_NE(isolated.error().message.find("/no/such/dunlin"), std::string::npos);
  }
}

TEST(Library, DescribesTheModel) {
  double last_fraction = 0;
  const Engine engine =
      load(ids_model(), {.context = 64, .progress = [&](double fraction, const std::string&) {
                           last_fraction = fraction;
                         }});
  EXPECT_EQ(last_fraction, 1.0);
  EXPECT_EQ(engine.model().family, "llama");
  EXPECT_EQ(engine.model().vocabulary, 160);
  EXPECT_EQ(engine.model().context, 64);
  EXPECT_EQ(engine.model().trained_context, 512);
  EXPECT_EQ(engine.model().stop_ids, (Ids{2, 5, 9}));
  EXPECT_GT(engine.model().parameters, 1000);
  EXPECT_GT(engine.model().weights_bytes, 1000u);
  EXPECT_GT(engine.model().kv_bytes, 1000u);
  EXPECT_FALSE(engine.model().has_tokenizer);
  EXPECT_EQ(engine.model().threads, 1);
  EXPECT_FALSE(engine.model().isa.empty());
}

TEST(Library, StreamsTextThroughTheChatTemplate) {
  Engine engine = load(text_model());
  ASSERT_TRUE(engine.model().has_chat_template);
  const auto prompt = engine.encode_chat({{"system", "Be brief."}, {"user", "Hello there"}});
  ASSERT_TRUE(prompt.ok()) << prompt.error().message;
  EXPECT_EQ(*engine.decode(*engine.encode("Hello there")), "Hello there");
  Collected collected;
  ASSERT_TRUE(engine.submit(greedy(*prompt, 20), into(collected)).ok());
  engine.run_until_idle();
  ASSERT_TRUE(collected.last.has_value());
  EXPECT_EQ(collected.ids.size(), 20u);
  EXPECT_EQ(collected.text, *engine.decode(collected.ids));
  EXPECT_EQ(collected.last->stats.predicted_tokens, 20);
  EXPECT_EQ(collected.last->reason, dunlin::FinishReason::length);
}

TEST(Library, TextNeedsATokenizer) {
  const Engine engine = load();
  EXPECT_FALSE(engine.encode("text").ok());
  EXPECT_FALSE(engine.encode_chat({{"user", "text"}}).ok());
  EXPECT_FALSE(engine.decode(Ids{1}).ok());
}

TEST(Library, DecodeRefusesIdsOutsideTheVocabulary) {
  const Engine engine = load(text_model());
  for (const int32_t id : {-1, 1 << 20}) {
    const auto text = engine.decode(Ids{id});
    ASSERT_FALSE(text.ok());
    EXPECT_EQ(text.error().kind, ErrorKind::usage);
  }
}

TEST(Library, MovesWithItsRequests) {
  Engine first = load();
  const Ids wanted = answer(first, greedy({1, 2, 3}, 12));
  Collected collected;
  ASSERT_TRUE(first.submit(greedy({1, 2, 3}, 12), into(collected)).ok());
  first.step();
  Engine second = std::move(first);
  second.run_until_idle();
  EXPECT_EQ(collected.ids, wanted);
  Engine third = load();
  third = std::move(second);
  EXPECT_EQ(answer(third, greedy({1, 2, 3}, 12)), wanted);
}

TEST(Library, DroppingTheEngineDropsItsRequests) {
  auto held = std::make_shared<int>(1);
  {
    Engine engine = load();
    ASSERT_TRUE(engine.submit(greedy({1}, 5), [held](const Event&) {}).ok());
    ASSERT_TRUE(engine.submit(greedy({1}, 5), [held](const Event&) {}).ok());
    engine.step();
    EXPECT_EQ(held.use_count(), 3);
  }
  EXPECT_EQ(held.use_count(), 1);
}

TEST(Library, CancelFromAnotherThreadStopsTheEvents) {
  Engine engine = load();
  std::atomic<int> tokens = 0;
  const auto id = engine.submit(greedy({1, 2}, 500), [&](const Event&) { ++tokens; }).value();
  std::thread other([&] {
    while (tokens < 3) std::this_thread::yield();
    engine.cancel(id);
  });
  engine.run_until_idle();
  other.join();
  EXPECT_GE(tokens, 3);
  EXPECT_LT(tokens, 500);
}

TEST(Library, CancelFromAnEventIsTheLastEvent) {
  Engine engine = load();
  int events = 0;
  const auto id = engine.submit(greedy({1, 2}, 500), [&](const Event& event) {
    if (++events == 3) engine.cancel(event.request);
  });
  ASSERT_TRUE(id.ok());
  engine.run_until_idle();
  EXPECT_EQ(events, 3);
  engine.cancel(*id);  // finished: ignored
  engine.cancel(12345);
  EXPECT_EQ(answer(engine, greedy({1, 2}, 3)).size(), 3u);
}

// Cancelled by another thread, while it waits and while it runs, and dropped before the next step.
TEST(Library, TheEngineMayGoAfterACancel) {
  std::atomic<int> events = 0;
  {
    Engine engine = load();
    std::vector<dunlin::RequestId> ids;
    for (int i = 0; i < 2; ++i)
      ids.push_back(engine.submit(greedy({1, 2}, 50), [&](const Event&) { ++events; }).value());
    engine.step();
    std::thread([&] {
      for (const auto id : ids) engine.cancel(id);
    }).join();
  }
  EXPECT_EQ(events, 1);  // of the first step
}

TEST(CustomSampler, SeesTheLogitsAndDecides) {
  Engine engine = load(ids_model(), {.context = 64});
  const Ids wanted = answer(engine, greedy({4, 5, 6}, 10));
  dunlin::Request request = greedy({4, 5, 6}, 10);
  request.sampling.temperature = 1.5f;  // does not matter: the sampler decides
  int calls = 0;
  request.custom_sampler = [&](const dunlin::SamplerInput& input) -> std::optional<int32_t> {
    EXPECT_EQ(input.tokens.size(), 3u + static_cast<size_t>(calls));
    EXPECT_EQ(input.prompt_tokens, 3u);
    EXPECT_EQ(input.row().size(), 160u);
    EXPECT_GE(input.uniform, 0.0f);
    EXPECT_LT(input.uniform, 1.0f);
    EXPECT_GT(input.entropy, 0.0f);
    EXPECT_GE(input.ids.size(), 40u);
    for (size_t i = 0; i < input.ids.size(); ++i) {
      EXPECT_EQ(input.logits[i], input.row()[static_cast<size_t>(input.ids[i])]);
      EXPECT_LE(input.logits[i], input.logits[i == 0 ? 0 : i - 1]);
    }
    ++calls;
    return input.ids[0];
  };
  EXPECT_EQ(answer(engine, request), wanted);
  EXPECT_EQ(calls, 10);
}

TEST(CustomSampler, MayLeaveTheChoiceToTheParameters) {
  Engine engine = load();
  dunlin::Request request = greedy({4, 5, 6}, 10);
  request.sampling = {.temperature = 1, .seed = 7};
  const Ids wanted = answer(engine, request);
  request.custom_sampler = [](const dunlin::SamplerInput&) { return std::nullopt; };
  EXPECT_EQ(answer(engine, request), wanted);
  request.custom_sampler = [](const dunlin::SamplerInput& input) -> std::optional<int32_t> {
    if (input.tokens.size() == 5) return 42;
    return std::nullopt;
  };
  const Ids changed = answer(engine, request);
  EXPECT_EQ(changed[0], wanted[0]);
  EXPECT_EQ(changed[1], wanted[1]);
  EXPECT_EQ(changed[2], 42);
}

TEST(CustomSampler, AnIdOutsideTheVocabularyFailsTheRequest) {
  Engine engine = load();
  for (const int32_t id : {-1, 160, INT32_MAX, INT32_MIN}) {
    dunlin::Request request = greedy({4}, 10);
    request.custom_sampler = [id](const dunlin::SamplerInput&) { return id; };
    Collected collected;
    ASSERT_TRUE(engine.submit(request, into(collected)).ok());
    engine.run_until_idle();
    ASSERT_TRUE(collected.last && collected.last->error);
    EXPECT_NE(collected.last->error->message.find(std::to_string(id)), std::string::npos);
  }
}

TEST(CustomSampler, MayEndTheAnswerWithAStopId) {
  Engine engine = load();
  dunlin::Request request = greedy({4}, 10);
  request.ignore_eos = false;
  request.custom_sampler = [](const dunlin::SamplerInput& input) -> std::optional<int32_t> {
    return input.tokens.size() < 4 ? 100 : 9;
  };
  EXPECT_EQ(answer(engine, request), (Ids{100, 100, 100}));
}

TEST(CustomSampler, AnExceptionLosesItsRequestAlone) {
  Engine engine = load(ids_model(), {.sequences = 2});
  const Ids wanted = answer(engine, greedy({1, 2}, 8));
  dunlin::Request request = greedy({4}, 10);
  request.custom_sampler = [](const dunlin::SamplerInput&) -> std::optional<int32_t> {
    throw std::runtime_error("sampler");
  };
  Collected bad, good;
  ASSERT_TRUE(engine.submit(request, into(bad)).ok());
  ASSERT_TRUE(engine.submit(greedy({1, 2}, 8), into(good)).ok());
  EXPECT_THROW(engine.run_until_idle(), std::runtime_error);
  engine.run_until_idle();
  EXPECT_EQ(bad.events, 0);
  EXPECT_EQ(good.ids, wanted);
}

}  // namespace
