// Whole downloads from the stand-in hub: what is in the cache afterwards, whatever happened meanwhile.
#include "hub/pull.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "hub_fixture.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class PullTest : public HubTest {
 protected:
  PullTest() : tiny_(cache_of(StandInHub::kRepo)) {}
  HfCache cache_of(const std::string& repo) const { return {cache_, repo}; }

  std::string etag(const std::string& name) {
    Pull pull(settings(), http(), request());
    const auto plan = pull.plan();
    for (const PullFile& each : plan->files) {
      if (each.file.name == name) return each.file.etag;
    }
    return "none";
  }
  // The commands' way to a model that was pulled before.
  Result<PullPlan> offline(const PullRequest& what) const {
    HubSettings all = settings();
    all.offline = true;
    return Pull(all, http(), what).plan();
  }
  static ServedReply storage_reply(const ServedRequest& request, const std::string& bytes) {
    return in_range(request, {.body = bytes});
  }

  HfCache tiny_;
};

TEST_F(PullTest, AModelIsWholeAndNothingElseIsFetched) {
  const auto path = pull(request());
  ASSERT_TRUE(path.ok()) << path.error().message;
  EXPECT_EQ(*path, tiny_.snapshot(StandInHub::kCommit));
  expect_whole_model(*path);
  EXPECT_THAT(tiny_.files(StandInHub::kCommit),
              ElementsAre("config.json", "model.safetensors", "tokenizer.json"));
  EXPECT_EQ(content_of(tiny_.folder() + "/refs/main"), StandInHub::kCommit);
  EXPECT_EQ(fs::read_symlink(*path + "/config.json"), "../../blobs/" + etag("config.json"));
  for (const auto& entry : fs::recursive_directory_iterator(cache_)) {
    EXPECT_NE(entry.path().extension(), ".incomplete");
    EXPECT_NE(entry.path().extension(), ".tmp");
  }
}

// tests/hub/data/huggingface_hub_cache.txt is what tools/check_hub_cache.py saw huggingface_hub write.
TEST_F(PullTest, TheLayoutIsHuggingfaceHubs) {
  ASSERT_TRUE(pull(request()).ok());
  std::vector<std::string> lines;
  for (const auto& entry : fs::recursive_directory_iterator(tiny_.folder())) {
    const std::string name = entry.path().lexically_relative(tiny_.folder());
    if (entry.is_symlink()) {
      lines.push_back(fmt::format("{} -> {}\n", name, fs::read_symlink(entry).string()));
    } else if (entry.is_regular_file()) {
      lines.push_back(fmt::format("{} {}\n", name,
                                  name.starts_with("refs/") ? content_of(entry.path())
                                                            : fmt::to_string(entry.file_size())));
    }
  }
  std::ranges::sort(lines);
  EXPECT_EQ(fmt::format("{}", fmt::join(lines, "")),
            content_of(DUNLIN_SOURCE_DIR "/tests/hub/data/huggingface_hub_cache.txt"));
}

TEST_F(PullTest, WhatIsThereIsNotFetchedAgain) {
  ASSERT_TRUE(pull(request()).ok());
  const size_t before = hub_.hub_requests().size();
  ASSERT_TRUE(pull(request()).ok());
  EXPECT_EQ(hub_.hub_requests().size(), before + 1);  // the list
  EXPECT_EQ(hub_.storage_requests().size(), 1u);
  // Of a new commit only what is new.
  const std::string second(40, '2');
  hub_.set_commit(second);
  hub_.add("config.json", "{\"model_type\": \"qwen2\"}\n");
  const auto path = pull(request());
  ASSERT_TRUE(path.ok()) << path.error().message;
  EXPECT_EQ(*path, tiny_.snapshot(second));
  EXPECT_EQ(content_of(*path + "/config.json"), "{\"model_type\": \"qwen2\"}\n");
  EXPECT_EQ(content_of(tiny_.snapshot(StandInHub::kCommit) + "/config.json"),
            "{\"model_type\": \"llama\"}\n");
  EXPECT_EQ(hub_.storage_requests().size(), 1u);
  EXPECT_EQ(content_of(tiny_.folder() + "/refs/main"), second);
}

TEST_F(PullTest, APlanTellsWhatIsMissing) {
  const std::string blob = tiny_.blob(etag("model.safetensors"));
  put(blob + ".incomplete", weights_.substr(0, 100'000));
  Pull pull(settings(), http(), request());
  const auto plan = pull.plan();
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->total_bytes(), 24 + 3000 + weights_.size());
  EXPECT_EQ(plan->missing_bytes(), 24 + 3000 + weights_.size() - 100'000);
  EXPECT_TRUE(nothing_published());
  EXPECT_EQ(hub_.storage_requests().size(), 0u);
}

TEST_F(PullTest, ADownloadGoesOnWhereItStopped) {
  const std::string blob = tiny_.blob(etag("model.safetensors"));
  put(blob + ".incomplete", weights_.substr(0, 123'456));
  const auto path = pull(request());
  ASSERT_TRUE(path.ok()) << path.error().message;
  expect_whole_model(*path);
  ASSERT_EQ(hub_.storage_requests().size(), 1u);
  EXPECT_EQ(hub_.storage_requests()[0].header("range"), "bytes=123456-");
}

TEST_F(PullTest, AWholeFileThatWasNotRenamedIsNotFetched) {
  put(tiny_.blob(etag("model.safetensors")) + ".incomplete", weights_);
  const auto path = pull(request());
  ASSERT_TRUE(path.ok()) << path.error().message;
  expect_whole_model(*path);
  EXPECT_EQ(hub_.storage_requests().size(), 0u);
}

TEST_F(PullTest, AnIncompleteFileThatIsDamagedIsFetchedAnew) {
  const std::string blob = tiny_.blob(etag("model.safetensors"));
  for (const std::string& damaged : {std::string(100'000, 'x'), weights_ + "more"}) {
    fs::remove_all(cache_);
    put(blob + ".incomplete", damaged);
    const auto path = pull(request());
    ASSERT_TRUE(path.ok()) << path.error().message;
    expect_whole_model(*path);
  }
}

TEST_F(PullTest, ABlobOfAnotherSizeIsReplaced) {
  put(tiny_.blob(etag("model.safetensors")), "cut short");
  const auto path = pull(request());
  ASSERT_TRUE(path.ok()) << path.error().message;
  expect_whole_model(*path);
}

TEST_F(PullTest, AConnectionThatBreaksCostsNoByteTwice) {
  hub_.set_fault([this](const ServedRequest& what, bool storage) -> std::optional<ServedReply> {
    if (!storage) return std::nullopt;
    ServedReply reply = storage_reply(what, weights_);
    reply.cut = 40'000;
    return reply;
  });
  const auto path = pull(request());
  ASSERT_TRUE(path.ok()) << path.error().message;
  expect_whole_model(*path);
  EXPECT_EQ(hub_.storage_requests().size(), 8u);
}

TEST_F(PullTest, AWrongChecksumIsNamedAndNothingIsKept) {
  std::string flipped = weights_;
  flipped[200'000] = static_cast<char>(flipped[200'000] ^ 1);
  hub_.set_fault([&](const ServedRequest& what, bool storage) -> std::optional<ServedReply> {
    if (!storage) return std::nullopt;
    return storage_reply(what, flipped);
  });
  const std::string wanted = etag("model.safetensors");
  const auto path = pull(request());
  ASSERT_FALSE(path.ok());
  EXPECT_EQ(path.error().kind, ErrorKind::network);
  EXPECT_THAT(path.error().message,
              testing::MatchesRegex(".*model.safetensors: damaged on its way: the checksum is "
                                    "[0-9a-f]{64}, the hub has " +
                                    wanted + "; nothing of it is kept"));
  EXPECT_FALSE(fs::exists(tiny_.blob(wanted)));
  EXPECT_FALSE(fs::exists(tiny_.blob(wanted) + ".incomplete"));
  EXPECT_TRUE(nothing_published());
  // The signed address is a secret of a kind.
  EXPECT_EQ(path.error().message.find("Signature"), std::string::npos);
  hub_.set_fault({});
  ASSERT_TRUE(pull(request()).ok());
}

TEST_F(PullTest, AWrongChecksumOfASmallFileToo) {
  hub_.add("config.json", "{}").etag = std::string(40, 'f');
  const auto path = pull(request());
  ASSERT_FALSE(path.ok());
  EXPECT_THAT(path.error().message, HasSubstr("/config.json: damaged on its way"));
  EXPECT_TRUE(nothing_published());
}

TEST_F(PullTest, MoreOrFewerBytesThanToldAreAnError) {
  for (const std::string& bytes : {weights_ + "x", weights_.substr(1)}) {
    hub_.set_fault([&](const ServedRequest& what, bool storage) -> std::optional<ServedReply> {
      if (!storage) return std::nullopt;
      return storage_reply(what, bytes);
    });
    const auto path = pull(request());
    ASSERT_FALSE(path.ok());
    EXPECT_EQ(path.error().kind, ErrorKind::network);
    EXPECT_TRUE(nothing_published());
    fs::remove_all(cache_);
  }
}

TEST_F(PullTest, AnEmptyFileIsAFile) {
  hub_.add("tokenizer.json", "");
  const auto path = pull(request());
  ASSERT_TRUE(path.ok()) << path.error().message;
  EXPECT_TRUE(fs::is_regular_file(*path + "/tokenizer.json"));
}

TEST_F(PullTest, ASizeThatCannotBeIsAnErrorBeforeAnythingIsFetched) {
  hub_.add("model.safetensors", weights_, true).size = uint64_t{1} << 50;
  const auto full = pull(request());
  ASSERT_FALSE(full.ok());
  EXPECT_EQ(full.error().kind, ErrorKind::does_not_fit);
  EXPECT_THAT(full.error().message,
              testing::MatchesRegex(".*: [0-9.]+ MB are to be fetched, [0-9.]+ MB are free: "
                                    "[0-9.]+ MB short"));
  hub_.add("model.safetensors", weights_, true).size = UINT64_MAX;
  EXPECT_THAT(pull(request()).error().message, HasSubstr("no such size can be"));
  EXPECT_EQ(hub_.storage_requests().size(), 0u);
  EXPECT_FALSE(fs::exists(cache_));
}

TEST_F(PullTest, FileNamesThatLeaveTheFolderAreRefused) {
  for (const char* evil : {"../../evil.safetensors", "/tmp/evil.safetensors", "a\\b.safetensors"}) {
    hub_.add(evil, "evil");
    PullRequest all = request();
    all.choice.include = {"*"};
    const auto path = pull(all);
    ASSERT_FALSE(path.ok()) << evil;
    EXPECT_EQ(path.error().kind, ErrorKind::model);
    EXPECT_THAT(path.error().message, HasSubstr("refused: the file name"));
    EXPECT_FALSE(fs::exists(cache_));
    // What is not wanted is not looked at.
    EXPECT_TRUE(pull(request()).ok()) << evil;
    hub_.remove(evil);
    fs::remove_all(cache_);
  }
}

TEST_F(PullTest, TheTokenGoesToTheHubAlone) {
  hub_.require_token("hf_secret");
  EXPECT_THAT(pull(request()).error().message, HasSubstr("a private one needs HF_TOKEN"));
  HubSettings all = settings();
  all.token = "hf_secret";
  const auto path = pull(request(), all);
  ASSERT_TRUE(path.ok()) << path.error().message;
  for (const ServedRequest& each : hub_.storage_requests())
    EXPECT_EQ(each.header("authorization"), "");
  EXPECT_EQ(hub_.storage_requests().size(), 1u);
}

TEST_F(PullTest, AListWithoutChecksumsIsCompletedByHead) {
  hub_.list_checksums(false);
  const auto path = pull(request());
  ASSERT_TRUE(path.ok()) << path.error().message;
  expect_whole_model(*path);
}

TEST_F(PullTest, OneGgufFileIsAPath) {
  hub_.add("m-Q8_0-00001-of-00002.gguf", "GGUF one", true);
  hub_.add("m-Q8_0-00002-of-00002.gguf", "GGUF two", true);
  const auto path = pull(request("org/tiny:q8_0"));
  ASSERT_TRUE(path.ok()) << path.error().message;
  EXPECT_EQ(*path, tiny_.snapshot(StandInHub::kCommit) + "/m-Q8_0-00001-of-00002.gguf");
  EXPECT_EQ(content_of(*path), "GGUF one");
  EXPECT_EQ(offline(request("org/tiny:Q8_0"))->path, *path);
  EXPECT_EQ(offline(request("org/tiny/m-Q8_0-00001-of-00002.gguf"))->path, *path);
  fs::remove(tiny_.snapshot(StandInHub::kCommit) + "/m-Q8_0-00002-of-00002.gguf");
  EXPECT_THAT(offline(request("org/tiny:Q8_0")).error().message,
              HasSubstr("dunlin pull org/tiny:Q8_0"));
}

TEST_F(PullTest, OfflineTakesWhatThereIs) {
  const auto before = offline(request());
  ASSERT_FALSE(before.ok());
  EXPECT_EQ(before.error().kind, ErrorKind::model);
  EXPECT_THAT(before.error().message, HasSubstr("org/tiny: no revision \"main\" in the cache " +
                                                cache_ + "; `dunlin pull org/tiny` fetches it"));
  const auto path = pull(request());
  ASSERT_TRUE(path.ok());
  const size_t requests = hub_.hub_requests().size();
  const auto plan = offline(request());
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_EQ(plan->path, *path);
  EXPECT_EQ(plan->missing_bytes(), 0u);
  PullRequest by_commit = request();
  by_commit.revision = StandInHub::kCommit;
  EXPECT_EQ(offline(by_commit)->path, *path);
  by_commit.revision = "other";
  EXPECT_FALSE(offline(by_commit).ok());
  EXPECT_EQ(hub_.hub_requests().size(), requests);
  // A blob that somebody has removed is no file.
  fs::remove(tiny_.blob(etag("model.safetensors")));
  EXPECT_FALSE(offline(request()).ok());
}

TEST_F(PullTest, RevisionsHaveTheirOwnNames) {
  PullRequest branch = request();
  branch.revision = "refs/pr/1";
  ASSERT_TRUE(pull(branch).ok());
  EXPECT_EQ(content_of(tiny_.folder() + "/refs/refs/pr/1"), StandInHub::kCommit);
  EXPECT_FALSE(fs::exists(tiny_.folder() + "/refs/main"));
  branch.revision = StandInHub::kCommit;
  ASSERT_TRUE(pull(branch).ok());
  EXPECT_FALSE(fs::exists(tiny_.folder() + "/refs/" + branch.revision));
  branch.revision = "../../x";
  EXPECT_EQ(pull(branch).error().kind, ErrorKind::usage);
  branch.revision = "none";
  EXPECT_THAT(pull(branch).error().message, HasSubstr("org/tiny: no revision \"none\""));
}

TEST_F(PullTest, TwoAtOnceFetchEachFileOnce) {
  hub_.set_fault([this](const ServedRequest& what, bool storage) -> std::optional<ServedReply> {
    if (!storage) return std::nullopt;
    ServedReply reply = storage_reply(what, weights_);
    reply.piece = 30'000;
    reply.pause = std::chrono::milliseconds(20);
    return reply;
  });
  std::vector<Result<std::string>> paths(3, Result<std::string>(runtime_error("not run")));
  std::vector<std::thread> threads;
  for (auto& path : paths) threads.emplace_back([&] { path = pull(request()); });
  for (std::thread& thread : threads) thread.join();
  for (const auto& path : paths) {
    ASSERT_TRUE(path.ok()) << path.error().message;
    expect_whole_model(*path);
  }
  EXPECT_EQ(hub_.storage_requests().size(), 1u);
}

TEST_F(PullTest, AFolderOfOnesOwnHoldsTheFilesThemselves) {
  PullRequest local = request();
  local.local_dir = folder_.file("model");
  const auto path = pull(local);
  ASSERT_TRUE(path.ok()) << path.error().message;
  EXPECT_EQ(*path, local.local_dir);
  expect_whole_model(*path);
  EXPECT_FALSE(fs::is_symlink(*path + "/model.safetensors"));
  EXPECT_FALSE(fs::exists(cache_));
  const std::string note = content_of(*path + "/.cache/huggingface/download/config.json.metadata");
  EXPECT_THAT(
      note, testing::StartsWith(fmt::format("{}\n{}\n", StandInHub::kCommit, etag("config.json"))));
  // Noted files are not read again, others are compared, changed ones are fetched.
  ASSERT_TRUE(pull(local).ok());
  EXPECT_EQ(hub_.storage_requests().size(), 1u);
  fs::remove_all(*path + "/.cache");
  ASSERT_TRUE(pull(local).ok());
  EXPECT_EQ(hub_.storage_requests().size(), 1u);
  fs::remove_all(*path + "/.cache");
  put(*path + "/model.safetensors", std::string(weights_.size(), 'x'));
  ASSERT_TRUE(pull(local).ok());
  EXPECT_EQ(hub_.storage_requests().size(), 2u);
  expect_whole_model(*path);
}

TEST_F(PullTest, CancellingLeavesWhatHasArrived) {
  std::atomic<bool> cancelled = false;
  hub_.set_fault([&](const ServedRequest& what, bool storage) -> std::optional<ServedReply> {
    if (!storage) return std::nullopt;
    ServedReply reply = storage_reply(what, weights_);
    reply.piece = 100'000;
    reply.pause = std::chrono::minutes(10);
    cancelled = true;
    return reply;
  });
  HttpOptions options = http();
  options.cancelled = [&cancelled] { return cancelled.load(); };
  EXPECT_EQ(pull(request(), settings(), options).error().message, "interrupted");
  EXPECT_TRUE(nothing_published());
  hub_.set_fault({});
  const auto path = pull(request());
  ASSERT_TRUE(path.ok()) << path.error().message;
  expect_whole_model(*path);
}

TEST_F(PullTest, WhatIsInTheWayIsNamed) {
  fs::create_directories(tiny_.blob(etag("model.safetensors")) + ".incomplete");
  EXPECT_THAT(pull(request()).error().message, HasSubstr(".incomplete: Is a directory"));
  fs::remove_all(cache_);
  put(cache_, "a file");
  EXPECT_THAT(pull(request()).error().message, HasSubstr(cache_));
}

}  // namespace
}  // namespace dunlin
