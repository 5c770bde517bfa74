// save_session and load_session: what a session holds comes back, and nothing that is wrong is taken.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <utility>

#include "artifact/layout.h"
#include "engine_driver.h"
#include "hash_model.h"
#include "support/temporary_folder.h"

namespace dunlin {
namespace {

using testing::HasSubstr;
using Ids = std::vector<int32_t>;

constexpr const char* kSavedModel = "llama_tied_bias";
constexpr const char* kKind = "test";

ModelOptions options(Precision precision = Precision::exact) {
  return {.precision = precision, .threads = 1, .context = 256, .sequences = 2};
}

Request in_saved_session(Request request, SessionId session) {
  request.session = session;
  return request;
}

class SessionFile : public testing::Test {
 protected:
  // The bytes of an artifact that `fill` adds chunks to.
  template <typename F>
  std::string artifact(F&& fill) const {
    const std::string path = folder_.file("session");
    auto writer = ArtifactWriter::create(path, {.kind = kKind, .key = ""});
    fill(*writer);
    EXPECT_TRUE(writer->commit().ok());
    std::ostringstream content;
    content << std::ifstream(path, std::ios::binary).rdbuf();
    return content.str();
  }
  std::string saved(EngineDriver& driver, SessionId session, int64_t wanted) const {
    return artifact([&](ArtifactWriter& writer) {
      const auto tokens = save_session(driver.engine(), session, writer);
      EXPECT_EQ(tokens.value(), wanted);
    });
  }

  static Result<ArtifactReader> reader_of(const std::string& content) {
    const auto* const begin = reinterpret_cast<const std::byte*>(content.data());
    return ArtifactReader::open(
        memory_source(std::vector<std::byte>(begin, begin + content.size()), "session"), kKind);
  }
  static Result<int64_t> load(EngineDriver& driver, SessionId session, const std::string& content) {
    DUNLIN_ASSIGN_OR_RETURN(const ArtifactReader reader, reader_of(content));
    return load_session(driver.engine(), session, reader);
  }

  // 21 tokens of prompt and 10 of answer, whose last one was never computed.
  static constexpr int64_t kHeld = 30;
  static Ids first_turn(EngineDriver& driver, SessionId session) {
    Ids tokens = random_prompt(21, 9);
    const Ids ids = driver.answer(in_saved_session(sampled(tokens, 10, 1), session)).ids;
    tokens.insert(tokens.end(), ids.begin(), ids.end());
    return tokens;
  }
  static Answer next_turn(EngineDriver& driver, SessionId session, Ids tokens) {
    tokens.insert(tokens.end(), {5, 6, 7});
    return driver.answer(in_saved_session(sampled(std::move(tokens), 8, 2), session));
  }

  TemporaryFolder folder_;
};

TEST_F(SessionFile, AnotherEngineContinuesWhatOneHeld) {
  for (const char* backend : {"cpu", "reference"}) {
    for (const auto& [precision, type] :
         {std::pair(Precision::automatic, KvType::bf16), std::pair(Precision::exact, KvType::bf16),
          std::pair(Precision::f32, KvType::f32), std::pair(Precision::exact, KvType::int8)}) {
      ModelOptions chosen = options(precision);
      chosen.backend = backend;
      chosen.kv_type = type;
      EngineDriver first(kSavedModel, chosen);
      const Ids tokens = first_turn(first, 1);
      const std::string content = saved(first, 1, kHeld);

      EngineDriver second(kSavedModel, chosen);
      EXPECT_EQ(session_key(second.engine()).value(), session_key(first.engine()).value());
      ASSERT_EQ(load(second, 7, content).value(), kHeld);
      EXPECT_EQ(saved(second, 7, kHeld), content);
      const Answer wanted = next_turn(first, 1, tokens);
      const Answer loaded = next_turn(second, 7, tokens);
      EXPECT_EQ(loaded.stats.cached_tokens, kHeld);
      EXPECT_EQ(loaded.ids, wanted.ids)
          << backend << " " << precision_name(precision) << " " << kv_type_name(type);
    }
  }
}

TEST_F(SessionFile, TheKeyNamesTheModelTheProgramThePrecisionAndTheLayout) {
  const auto key = [](const std::string& model, const ModelOptions& chosen) {
    return session_key(EngineDriver(model, chosen).engine()).value();
  };
  const std::string one = key(kSavedModel, options());
  ModelOptions same = options();
  same.threads = 2;
  same.context = 128;
  same.sequences = 4;
  same.isa = "scalar";
  EXPECT_EQ(key(kSavedModel, same), one);

  ModelOptions other_backend = options();
  other_backend.backend = "reference";
  ModelOptions truncated = options();
  truncated.layers = 1;
  EXPECT_NE(key("llama_plain", options()), one);
  EXPECT_NE(key(tiny_model_path(kSavedModel) + ".gguf", options()), one);
  EXPECT_NE(key(kSavedModel, options(Precision::automatic)), one);
  EXPECT_NE(key(kSavedModel, options(Precision::f32)), one);
  EXPECT_NE(key(kSavedModel, other_backend), one);
  EXPECT_NE(key(kSavedModel, truncated), one);
  ModelOptions int8 = options();
  int8.kv_type = KvType::int8;
  EXPECT_NE(key(kSavedModel, int8), one);
  EXPECT_THAT(key(kSavedModel, int8), HasSubstr("\nKV layout cpu int8 1"));
  ModelOptions said = options();
  said.kv_type = KvType::bf16;
  EXPECT_EQ(key(kSavedModel, said), one);
  for (const char* line : {"model ", "\nprogram ", "\nprecision exact\n", "\nKV layout "})
    EXPECT_THAT(one, HasSubstr(line));
}

TEST_F(SessionFile, NothingIsSavedOfASessionThatHoldsNothing) {
  EngineDriver driver(kSavedModel, options());
  const std::string empty = saved(driver, 1, 0);
  EXPECT_TRUE(reader_of(empty)->chunks().empty());
  // While its request runs the sequence is not the session's.
  const auto answer = driver.submit(in_saved_session(greedy(random_prompt(9, 1), 4), 1));
  driver.engine().step();
  EXPECT_EQ(saved(driver, 1, 0), empty);
  driver.engine().run_until_idle();
  saved(driver, 1, 9 + 3);
  driver.engine().end_session(1);
  driver.engine().step();
  EXPECT_EQ(saved(driver, 1, 0), empty);
}

// Each region of the file, and each length: an error, and the session keeps what it has.
TEST_F(SessionFile, DamageIsFoundBeforeTheSessionIsTouched) {
  EngineDriver driver(kSavedModel, options());
  const std::string good = saved((first_turn(driver, 1), driver), 1, kHeld);
  const Ids held = first_turn(driver, 2);
  const auto expect_refused = [&](const std::string& bad, size_t at) {
    const auto loaded = load(driver, 2, bad);
    ASSERT_FALSE(loaded.ok()) << at;
    EXPECT_EQ(loaded.error().kind, ErrorKind::runtime);
    EXPECT_THAT(loaded.error().message, testing::StartsWith("session: ")) << at;
  };
  std::vector<size_t> places = {0, 8, 16, 40, 63, good.size() - 1, good.size() - 100};
  const auto reader = reader_of(good);
  ASSERT_EQ(reader->chunks().size(), 2u);
  for (const ArtifactChunk& chunk : reader->chunks()) {
    for (const uint64_t at : {uint64_t{0}, chunk.bytes / 2, chunk.bytes - 1})
      places.push_back(chunk.offset + at);
  }
  for (const size_t at : places) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    expect_refused(bad, at);
    expect_refused(good.substr(0, at), at);
  }
  EXPECT_EQ(next_turn(driver, 2, held).stats.cached_tokens, kHeld);
}

TEST_F(SessionFile, AnotherVersionOfTheFormatIsSaid) {
  EngineDriver driver(kSavedModel, options());
  first_turn(driver, 1);
  std::string newer = saved(driver, 1, kHeld);
  newer[8] = 9;
  EXPECT_THAT(load(driver, 1, newer).error().message, HasSubstr("version 9"));
}

// Checksums that agree with chunks that are wrong.
TEST_F(SessionFile, ChunksThatContradictEachOtherOrTheModelAreErrors) {
  EngineDriver driver(kSavedModel, options());
  first_turn(driver, 1);
  const std::string good = saved(driver, 1, kHeld);
  const auto reader = reader_of(good);
  const auto tokens = reader->read("kv.tokens", 1 << 20).value();
  const auto pages = reader->read("kv.0", 1 << 20).value();
  using Bytes = std::span<const std::byte>;
  const auto expect_error = [&](const std::vector<std::pair<std::string, Bytes>>& chunks,
                                const char* problem) {
    const std::string content = artifact([&](ArtifactWriter& writer) {
      for (const auto& [name, bytes] : chunks) {
        ASSERT_TRUE(writer.begin_chunk(name).ok());
        ASSERT_TRUE(writer.append(bytes).ok());
      }
    });
    const auto loaded = load(driver, 1, content);
    ASSERT_FALSE(loaded.ok()) << problem;
    EXPECT_EQ(loaded.error().kind, ErrorKind::runtime);
    EXPECT_THAT(loaded.error().message, HasSubstr(problem));
  };
  expect_error({}, "the part kv.tokens is missing");
  expect_error({{"kv.0", pages}}, "the part kv.tokens is missing");
  expect_error({{"kv.tokens", tokens}}, "kv.0 does not have the pages of 30 tokens");
  expect_error({{"kv.tokens", Bytes()}, {"kv.0", Bytes()}}, "kv.tokens is not a list of tokens");
  expect_error({{"kv.tokens", Bytes(tokens).first(5)}, {"kv.0", pages}}, "is not a list of tokens");
  expect_error({{"kv.tokens", Bytes(tokens).first(16 * 4)}, {"kv.0", pages}},
               "kv.0 does not have the pages of 16 tokens");
  expect_error({{"kv.tokens", tokens}, {"kv.0", Bytes(pages).first(pages.size() / 2)}},
               "kv.0 does not have the pages of 30 tokens");
  // Pages of another precision, whose key nobody compared.
  EngineDriver f32(kSavedModel, options(Precision::f32));
  EXPECT_THAT(load(f32, 1, good).error().message, HasSubstr("does not have the pages"));
  ModelOptions coded = options();
  coded.kv_type = KvType::int8;
  EngineDriver int8(kSavedModel, coded);
  EXPECT_THAT(load(int8, 1, good).error().message, HasSubstr("does not have the pages"));
  EngineDriver other("llama_plain", options());
  EXPECT_FALSE(load(other, 1, good).ok());
}

TEST_F(SessionFile, MoreTokensThanTheContextAreAUsageError) {
  EngineDriver driver(kSavedModel, options());
  first_turn(driver, 1);
  const std::string content = saved(driver, 1, kHeld);
  ModelOptions small = options();
  small.context = 29;
  EngineDriver other(kSavedModel, small);
  const auto loaded = load(other, 1, content);
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(loaded.error().kind, ErrorKind::usage);
  EXPECT_THAT(loaded.error().message, HasSubstr("30 tokens do not fit the context of 29"));
}

TEST_F(SessionFile, IdleSessionsMakeRoomAndRequestsDoNot) {
  EngineDriver driver(kSavedModel, options());
  const Ids tokens = first_turn(driver, 1);
  const std::string content = saved(driver, 1, kHeld);
  first_turn(driver, 2);
  EXPECT_EQ(load(driver, 3, content).value(), kHeld);  // in the place of 1
  EXPECT_EQ(saved(driver, 1, 0), artifact([](ArtifactWriter&) {}));
  EXPECT_EQ(next_turn(driver, 3, tokens).stats.cached_tokens, kHeld);

  EngineDriver busy(kSavedModel, options());
  for (uint32_t i = 0; i < 2; ++i) busy.submit(greedy(random_prompt(9, i), 20));
  busy.engine().step();
  const auto refused = load(busy, 1, content);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message, HasSubstr("all 2 sequence slots are in use"));
  busy.engine().run_until_idle();
  EXPECT_EQ(load(busy, 1, content).value(), kHeld);
}

TEST_F(SessionFile, ABackEndThatCannotSavePagesSavesNothingAndLoadsNothing) {
  EngineDriver hashing(make_hash_model());
  Request request = greedy({1, 2, 3}, 4);
  request.session = 1;
  hashing.answer(request);
  const std::string empty = saved(hashing, 1, 0);
  EXPECT_TRUE(reader_of(empty)->chunks().empty());
  EXPECT_THAT(load(hashing, 1, empty).error().message, HasSubstr("cannot load a KV cache"));
}

}  // namespace
}  // namespace dunlin
