// A stand-in hub with a small model, an empty folder for its cache, and pauses that a test can wait for.
#pragma once

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "hub/hf_cache.h"
#include "hub/pull.h"
#include "support/saved_environment.h"
#include "support/stand_in_hub.h"
#include "support/temporary_folder.h"

namespace dunlin {

inline std::string content_of(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

inline void put(const std::string& path, const std::string& bytes) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}

// Bytes that differ everywhere, so that a piece in the wrong place is seen.
inline std::string pattern_bytes(size_t size, uint32_t seed = 1) {
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>((seed = seed * 1664525 + 1013904223) >> 24);
  return bytes;
}

class HubTest : public testing::Test {
 protected:
  void SetUp() override {
    hub_.add("README.md", "# A model\n");
    hub_.add("config.json", "{\"model_type\": \"llama\"}\n");
    hub_.add("tokenizer.json", pattern_bytes(3000, 7));
    hub_.add("pytorch_model.bin", "PK", /*large=*/true);
    hub_.add("model.safetensors", weights_, /*large=*/true);
  }

  HubSettings settings() const {
    return {.endpoint = hub_.url(), .cache = cache_, .stall_timeout = std::chrono::seconds(1)};
  }
  static HttpOptions http() {
    return {.attempts = 4,
            .first_pause = std::chrono::milliseconds(1),
            .longest_pause = std::chrono::milliseconds(1500)};
  }
  static PullRequest request(const std::string& model = StandInHub::kRepo) {
    return {.model = *parse_hub_model(model)};
  }

  // Plans and fetches; MODEL.
  Result<std::string> pull(const PullRequest& what) { return pull(what, settings()); }
  static Result<std::string> pull(const PullRequest& what, const HubSettings& settings,
                                  const HttpOptions& options = http()) {
    Pull pull(settings, options, what);
    DUNLIN_ASSIGN_OR_RETURN(const PullPlan plan, pull.plan());
    uint64_t last = 0;
    DUNLIN_RETURN_IF_ERROR(pull.run(plan, [&last](uint64_t bytes) { last = bytes; }));
    EXPECT_EQ(last, plan.missing_bytes());
    return plan.path;
  }

  void expect_whole_model(const std::string& path) const {
    EXPECT_EQ(content_of(path + "/config.json"), "{\"model_type\": \"llama\"}\n");
    EXPECT_EQ(content_of(path + "/tokenizer.json"), pattern_bytes(3000, 7));
    EXPECT_TRUE(content_of(path + "/model.safetensors") == weights_);
  }
  // Nothing that MODEL could name.
  bool nothing_published() const {
    const HfCache cache(cache_, StandInHub::kRepo);
    return !std::filesystem::exists(cache.folder() + "/snapshots") &&
           !std::filesystem::exists(cache.folder() + "/refs");
  }

  // A proxy of the machine has no business between two ports of it.
  SavedEnvironment environment_{"no_proxy", "127.0.0.1"};
  const std::string weights_ = pattern_bytes(300'000);
  StandInHub hub_;
  TemporaryFolder folder_;
  const std::string cache_ = folder_.file("hub");
};

}  // namespace dunlin
