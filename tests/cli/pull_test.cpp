// `dunlin pull` as a process, from a stand-in hub: what it prints, and what it leaves when it is killed or the disk is full.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <thread>

#include "hub/checksum.h"
#include "process.h"
#include "support/stand_in_hub.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

class PullCommand : public testing::Test {
 protected:
  void SetUp() override {
    write_text_model(model_.path());
    for (const auto& entry : fs::directory_iterator(model_.path())) {
      const std::string name = entry.path().filename();
      hub_.add(name, read_all(entry.path()), name.ends_with(".safetensors"));
    }
    weights_ = read_all(model_.file("model.safetensors"));
  }

  ProcessInput input() const {
    return {.environment = {{"HF_ENDPOINT", hub_.url()},
                            {"HF_HOME", home_.path()},
                            {"XDG_CONFIG_HOME", home_.path()},
                            {"HF_HUB_CACHE", ""},
                            {"HUGGINGFACE_HUB_CACHE", ""},
                            {"HF_TOKEN", ""},
                            {"HUGGING_FACE_HUB_TOKEN", ""},
                            {"HF_HUB_OFFLINE", ""},
                            {"no_proxy", "127.0.0.1"}}};
  }
  ProcessResult pull(const std::vector<std::string>& arguments) const {
    return pull(arguments, input());
  }
  static ProcessResult pull(const std::vector<std::string>& arguments, const ProcessInput& input) {
    std::vector<std::string> all = {"pull"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return run_dunlin(all, input);
  }
  std::string repo_folder() const { return home_.file("hub/models--org--tiny"); }
  std::string snapshot() const { return repo_folder() + "/snapshots/" + StandInHub::kCommit; }

  // The weights go out in `pieces` pieces, a millisecond apart.
  void slow_down(size_t pieces) {
    hub_.set_fault(
        [this, pieces](const ServedRequest& request, bool storage) -> std::optional<ServedReply> {
          if (!storage) return std::nullopt;
          ServedReply reply = in_range(request, {.body = weights_});
          reply.piece = std::max<size_t>(1, weights_.size() / pieces);
          reply.pause = std::chrono::milliseconds(1);
          return reply;
        });
  }

  // Starts the command and leaves it running.
  pid_t start() const {
    const pid_t child = ::fork();
    if (child != 0) return child;
    const int nowhere = ::open("/dev/null", O_WRONLY);
    if (nowhere < 0 || ::dup2(nowhere, STDOUT_FILENO) < 0) ::_exit(127);
    for (const auto& [name, value] : input().environment) ::setenv(name.c_str(), value.c_str(), 1);
    ::execl(DUNLIN_BINARY, DUNLIN_BINARY, "pull", "org/tiny", "-q", nullptr);
    ::_exit(127);
  }
  static int wait_for(pid_t child) {
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  // Absent, or whole: no blob that is not what its name says, no revision without all of its files.
  void expect_absent_or_whole() const {
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(repo_folder() + "/blobs", none)) {
      const std::string name = entry.path().filename();
      if (name.ends_with(".incomplete")) continue;
      const std::string bytes = read_all(entry.path());
      auto checksum = Checksum::create(*checksum_kind(name), bytes.size());
      checksum->update(std::as_bytes(std::span(bytes)));
      EXPECT_EQ(checksum->finish(), name);
    }
    if (fs::exists(snapshot() + "/config.json")) expect_whole();
    if (fs::exists(repo_folder() + "/refs/main")) expect_whole();
  }
  void expect_whole() const {
    for (const auto& entry : fs::directory_iterator(model_.path())) {
      const std::string name = entry.path().filename();
      if (!fs::exists(snapshot() + "/" + name)) continue;
      EXPECT_TRUE(read_all(snapshot() + "/" + name) == read_all(entry.path())) << name;
    }
    EXPECT_TRUE(fs::exists(snapshot() + "/config.json"));
    EXPECT_TRUE(fs::exists(snapshot() + "/model.safetensors"));
    EXPECT_TRUE(fs::exists(snapshot() + "/tokenizer.json"));
  }
  // Bytes of the weights that an interrupted download has left.
  uint64_t incomplete_bytes() const {
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(repo_folder() + "/blobs", none)) {
      if (entry.path().filename().string().size() == 64 + std::string(".incomplete").size())
        return fs::file_size(entry);
    }
    return 0;
  }

  TemporaryFolder model_, home_;
  std::string weights_;
  StandInHub hub_;
};

TEST_F(PullCommand, PrintsAModelThatRuns) {
  const ProcessResult pulled = pull({"org/tiny"});
  ASSERT_EQ(pulled.code, 0) << pulled.err;
  EXPECT_EQ(pulled.out, snapshot() + "\n");
  EXPECT_THAT(pulled.err, HasSubstr("org/tiny at 0123456789abcdef0123456789abcdef01234567: "));
  expect_whole();
  const ProcessResult run = run_dunlin({"run", snapshot(), "Hello", "-n", "2", "-q"});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(pull({"org/tiny", "-q"}).err, "");
}

TEST_F(PullCommand, ModelsOnThisMachineHaveNames) {
  ASSERT_EQ(pull({"org/tiny"}).code, 0);
  const std::string gguf = home_.file("model.gguf");
  ASSERT_EQ(run_dunlin({"convert", snapshot(), gguf, "-q"}).code, 0);
  // As `ollama pull tiny` leaves it.
  const std::string digest(64, 'a');
  fs::create_directories(home_.file("ollama/blobs"));
  fs::create_directories(home_.file("ollama/manifests/registry.ollama.ai/library/tiny"));
  fs::rename(gguf, home_.file("ollama/blobs/sha256-" + digest));
  std::string layers;
  for (const char* kind : {"model", "template"}) {
    layers += fmt::format(R"({}{{"mediaType": "application/vnd.ollama.image.{}",
        "digest": "sha256:{}"}})",
                          layers.empty() ? "" : ", ", kind, digest);
  }
  write_all(home_.file("ollama/manifests/registry.ollama.ai/library/tiny/latest"),
            fmt::format(R"({{"layers": [{}]}})", layers));
  ProcessInput names = input();
  names.environment["OLLAMA_MODELS"] = home_.file("ollama");
  const auto answer = [&](const std::string& model) {
    return run_dunlin({"run", model, "Hello", "-n", "4", "--temp", "0"}, names);
  };
  const std::string wanted = answer(snapshot()).out;
  EXPECT_NE(wanted, "");
  for (const char* model : {"org/tiny", "hf:org/tiny", "ollama:tiny", "tiny", "tiny:latest"}) {
    const ProcessResult result = answer(model);
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(result.out, wanted) << model;
    const bool ollama = result.err.find("ollama's own template of tiny") != std::string::npos;
    EXPECT_EQ(ollama, std::string(model).find("org") == std::string::npos) << result.err;
  }
  EXPECT_EQ(run_dunlin({"inspect", "org/tiny", "--json"}, names).code, 0);
  EXPECT_EQ(run_dunlin({"tokenize", "ollama:tiny", "Hello"}, names).code, 0);
  EXPECT_EQ(run_dunlin({"inspect", "org/other"}, names).code, 3);
  EXPECT_EQ(run_dunlin({"inspect", "ollama:other"}, names).code, 3);
}

TEST_F(PullCommand, DryRunAndJson) {
  const ProcessResult dry = pull({"org/tiny", "--dry-run"});
  ASSERT_EQ(dry.code, 0) << dry.err;
  EXPECT_THAT(dry.out, HasSubstr("model.safetensors"));
  EXPECT_THAT(dry.out, HasSubstr("total"));
  EXPECT_FALSE(fs::exists(repo_folder()));
  const auto planned = pull({"org/tiny", "--dry-run", "--json"}).json();
  EXPECT_EQ(planned["missing_bytes"], planned["total_bytes"]);

  const ProcessResult result = pull({"org/tiny", "--json", "-q"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, testing::StartsWith("{\"schema_version\":1,"));
  const auto json = result.json();
  EXPECT_EQ(json["path"], snapshot());
  EXPECT_EQ(json["commit"], StandInHub::kCommit);
  EXPECT_EQ(json["fetched_bytes"], json["total_bytes"]);
  uint64_t total = 0;
  for (const auto& file : json["files"]) total += file["bytes"].get<uint64_t>();
  EXPECT_EQ(json["total_bytes"], total);
}

TEST_F(PullCommand, OfflineNeedsNoServer) {
  EXPECT_EQ(pull({"org/tiny", "--offline"}).code, 3);
  ASSERT_EQ(pull({"org/tiny"}).code, 0);
  const size_t requests = hub_.hub_requests().size();
  ProcessInput offline = input();
  offline.environment["HF_HUB_OFFLINE"] = "1";
  EXPECT_EQ(pull({"org/tiny"}, offline).out, snapshot() + "\n");
  EXPECT_EQ(pull({"org/tiny", "--offline"}).out, snapshot() + "\n");
  EXPECT_EQ(hub_.hub_requests().size(), requests);
}

TEST_F(PullCommand, AFolderOfOnesOwn) {
  const std::string folder = home_.file("here");
  const ProcessResult result = pull({"org/tiny", "--local-dir", folder, "--exclude", "special*"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, folder + "\n");
  EXPECT_TRUE(read_all(folder + "/model.safetensors") == weights_);
  EXPECT_FALSE(fs::exists(folder + "/special_tokens_map.json"));
}

TEST_F(PullCommand, ErrorsHaveTheirExitCodesAndTheTokenIsNeverShown) {
  ProcessInput unreachable = input();
  unreachable.environment["HF_ENDPOINT"] = "http://127.0.0.1:1";
  ProcessInput wrong = input();
  wrong.environment["HF_ENDPOINT"] = "nothing";
  const struct {
    std::vector<std::string> arguments;
    ProcessInput input;
    int code;
    std::string message;
  } cases[] = {
      {{"org/tiny"}, unreachable, 7, "http://127.0.0.1:1/api/models/org/tiny/revision/main"},
      {{"org/tiny"}, wrong, 2, "HF_ENDPOINT"},
      {{"org/none"}, input(), 3, "org/none: no such model at " + hub_.url()},
      {{"org/tiny:Q4_K_M"}, input(), 3, "org/tiny: no GGUF file there"},
      {{"org/tiny", "--revision", "none"}, input(), 3, "org/tiny: no revision \"none\""},
      {{"org/tiny", "--revision", "../x"}, input(), 2, "--revision: \"../x\""},
      {{"/tmp/model"}, input(), 2, "not a model of the hub; give ORG/NAME"},
      {{"org/tiny", "--include", "*.zip"}, input(), 3, "no file fits"},
      {{"org/tiny", "--offline", "--local-dir", "x"}, input(), 2, "cannot be given together"},
      {{"org/tiny", "--local-dir", ""}, input(), 2, "the text is empty"},
      {{"org/tiny", "--token", "a b"}, input(), 2, "--token: a token has only"},
      {{}, input(), 2, "repo"},
  };
  for (const auto& [arguments, given, code, message] : cases) {
    ProcessInput with_token = given;
    with_token.environment["HF_TOKEN"] = "hf_secret";
    const ProcessResult result = pull(arguments, with_token);
    EXPECT_EQ(result.code, code) << result.err;
    EXPECT_THAT(result.err, HasSubstr(message));
    EXPECT_THAT(result.err, Not(HasSubstr("hf_secret")));
    EXPECT_EQ(result.out, "");
  }
  EXPECT_FALSE(fs::exists(home_.file("hub")));
}

TEST_F(PullCommand, PickledWeightsAreRefused) {
  hub_.remove("model.safetensors");
  hub_.add("pytorch_model.bin", "PK", true);
  const ProcessResult result = pull({"org/tiny"});
  EXPECT_EQ(result.code, 3);
  EXPECT_THAT(result.err, HasSubstr("tools/pickle_to_safetensors.py"));
}

rlim_t g_limit = 0;

// A disk that is full after any number of bytes, as a limit on the size of files shows it.
TEST_F(PullCommand, AFullDiskIsAnErrorAndTheDownloadGoesOnLater) {
  for (const rlim_t limit : {rlim_t{1200}, rlim_t{20'000}, rlim_t{weights_.size() - 1}}) {
    g_limit = limit;
    ProcessInput full = input();
    full.prepare = [] {
      const rlimit size = {g_limit, g_limit};
      ::setrlimit(RLIMIT_FSIZE, &size);
    };
    const ProcessResult result = pull({"org/tiny", "-q"}, full);
    EXPECT_EQ(result.code, 1) << result.err;
    EXPECT_THAT(result.err, HasSubstr(".incomplete: File too large")) << limit;
    EXPECT_EQ(result.out, "");
    EXPECT_FALSE(fs::exists(repo_folder() + "/refs"));
    EXPECT_FALSE(fs::exists(repo_folder() + "/snapshots"));
    expect_absent_or_whole();
  }
  const size_t before = hub_.storage_requests().size();
  ASSERT_EQ(pull({"org/tiny"}).code, 0);
  expect_whole();
  EXPECT_EQ(hub_.storage_requests().at(before).header("range"),
            fmt::format("bytes={}-", weights_.size() - 1));
}

TEST_F(PullCommand, CtrlCLeavesWhatHasArrived) {
  slow_down(2000);
  const pid_t child = start();
  while (incomplete_bytes() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  ::kill(child, SIGINT);
  EXPECT_EQ(wait_for(child), 130);
  const uint64_t arrived = incomplete_bytes();
  EXPECT_GT(arrived, 0u);
  expect_absent_or_whole();
  hub_.set_fault({});
  ASSERT_EQ(pull({"org/tiny"}).code, 0);
  EXPECT_EQ(hub_.storage_requests().at(1).header("range"), fmt::format("bytes={}-", arrived));
  expect_whole();
}

// DUNLIN_TEST_KILLS times (4 without it): kill -9 at a random moment, then go on.
TEST_F(PullCommand, WhoeverIsKilledLeavesNothingHalfMade) {
  const char* const wanted = std::getenv("DUNLIN_TEST_KILLS");
  const int kills = wanted == nullptr ? 4 : std::atoi(wanted);
  slow_down(100);
  std::mt19937 random(20261126);
  std::uniform_int_distribution<int> microseconds(0, 200'000);
  int resumed = 0, finished = 0;
  for (int i = 0; i < kills; ++i) {
    const uint64_t left = incomplete_bytes();
    const size_t before = hub_.storage_requests().size();
    const pid_t child = start();
    std::this_thread::sleep_for(std::chrono::microseconds(microseconds(random)));
    ::kill(child, SIGKILL);
    const int code = wait_for(child);
    ASSERT_TRUE(code == 0 || code == 128 + SIGKILL) << code;
    expect_absent_or_whole();
    const auto requests = hub_.storage_requests();
    if (left > 0 && requests.size() > before) {
      EXPECT_EQ(requests[before].header("range"), fmt::format("bytes={}-", left));
      ++resumed;
    }
    if (code == 0) {
      ++finished;
      expect_whole();
      fs::remove_all(home_.file("hub"));
    }
  }
  ASSERT_EQ(pull({"org/tiny"}).code, 0);
  expect_whole();
  RecordProperty("resumed", resumed);
  RecordProperty("finished", finished);
  std::printf("%d kills, %d downloads resumed, %d finished before\n", kills, resumed, finished);
}

}  // namespace
}  // namespace dunlin
