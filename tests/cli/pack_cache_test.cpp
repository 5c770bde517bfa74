// The cache of packed weights as commands use it. The test's models are small, so they are kept only
// where they are to be mapped, or where --pack-cache-least-mb says so.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "process.h"
#include "support/temporary_folder.h"
#include "support/text_model_folder.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;
using Arguments = std::vector<std::string>;

class PackCacheCommand : public testing::Test {
 protected:
  ProcessResult run(const Arguments& more, std::map<std::string, std::string> environment = {}) {
    Arguments arguments = {"run",    model_, "--prompt-ids", "3,4,5",  "-n", "4",
                           "--temp", "0",    "--ignore-eos", "--json", "-v"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    environment.emplace("DUNLIN_PACK_CACHE", cache_);
    return run_dunlin(arguments, {.environment = std::move(environment)});
  }

  std::vector<std::string> files(const std::string& folder) const {
    std::vector<std::string> names;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder, error))
      names.push_back(entry.path().string());
    return names;
  }

  TemporaryFolder folder_;
  std::string model_ = test_data("data/llama_plain/model");
  std::string cache_ = folder_.file("packed");
};

TEST_F(PackCacheCommand, TheSecondRunSaysWhereItsWeightsAreFrom) {
  const ProcessResult first = run({"--load-mode", "mmap"});
  ASSERT_EQ(first.code, 0) << first.err;
  EXPECT_THAT(first.err, HasSubstr("MB of weights\n"));
  EXPECT_EQ(first.json()["ids"].size(), 4u);
  EXPECT_EQ(first.json()["backend"]["packed_before"], false);
  ASSERT_EQ(files(cache_).size(), 1u);
  const std::string entry = files(cache_)[0];
  EXPECT_THAT(first.err, HasSubstr("cache    kept in " + entry));
  const ProcessResult second = run({"--load-mode", "mmap"});
  EXPECT_THAT(second.err, HasSubstr("MB of packed weights from the cache\n"));
  EXPECT_THAT(second.err, HasSubstr("cache    from " + entry));
  EXPECT_EQ(second.json()["backend"]["packed_before"], true);
  EXPECT_EQ(second.json()["ids"], first.json()["ids"]);
  EXPECT_EQ(run({}).json()["ids"], first.json()["ids"]);

  fs::resize_file(entry, 1000);
  const ProcessResult third = run({"--load-mode", "mmap"});
  EXPECT_EQ(third.code, 0);
  EXPECT_THAT(third.err, HasSubstr("cache    packed again: " + entry));
  EXPECT_EQ(third.json()["backend"]["packed_before"], false);
  EXPECT_THAT(third.err, Not(HasSubstr("warning: packed")));
  EXPECT_EQ(third.json()["ids"], first.json()["ids"]);
}

// Written while it answers; the end of the process waits for it.
TEST_F(PackCacheCommand, TheEntryIsThereWhenTheProcessHasEnded) {
  const Arguments all = {"--pack-cache-least-mb", "0", "--disable", "memory_tuning"};
  const ProcessResult first = run(all);
  ASSERT_EQ(first.code, 0) << first.err;
  ASSERT_EQ(files(cache_).size(), 1u);
  const std::string entry = files(cache_)[0];
  EXPECT_TRUE(entry.ends_with(".packed")) << entry;
  const size_t begun = first.err.find(" MB are written to " + entry + " while the model is used");
  const size_t kept = first.err.find("cache    kept in " + entry);
  ASSERT_NE(begun, std::string::npos) << first.err;
  ASSERT_NE(kept, std::string::npos) << first.err;
  EXPECT_LT(begun, kept);
  const ProcessResult second = run(all);
  EXPECT_THAT(second.err, HasSubstr("cache    from " + entry));
  EXPECT_EQ(second.json()["ids"], first.json()["ids"]);
}

// How weights are read is measured for models that are large enough to be kept.
TEST_F(PackCacheCommand, WhatWasMeasuredOfMemoryLiesBesideTheEntries) {
  const Arguments all = {"--pack-cache-least-mb", "0"};
  const ProcessResult first = run(all);
  ASSERT_EQ(first.code, 0) << first.err;
  EXPECT_THAT(first.err, HasSubstr("memory   weights asked for "));
  EXPECT_THAT(first.err, HasSubstr("(measured, kept in " + cache_ + "/memory-"));
  EXPECT_EQ(files(cache_).size(), 2u);
  EXPECT_THAT(run(all).err, HasSubstr("(measured before, kept in " + cache_ + "/memory-"));
  EXPECT_THAT(run({}).err, HasSubstr("huge pages (as usual)"));
  const ProcessResult off = run({"--no-pack-cache", "--pack-cache-least-mb", "0"});
  EXPECT_THAT(off.err, HasSubstr("huge pages (as usual)"));
}

// Its answer is not lost to a disk that takes nothing.
TEST_F(PackCacheCommand, WhatCannotBeWrittenIsOneWarning) {
  write_all(folder_.file("file"), "");
  const ProcessResult result = run({"--pack-cache-least-mb", "0"},
                                   {{"DUNLIN_PACK_CACHE", folder_.file("file") + "/packed"}});
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.json()["ids"].size(), 4u);
  const std::string warning = "warning: packed weights are not kept: ";
  const size_t first = result.err.find(warning);
  ASSERT_NE(first, std::string::npos) << result.err;
  EXPECT_EQ(result.err.find(warning, first + 1), std::string::npos) << result.err;
}

TEST_F(PackCacheCommand, SmallModelsAreNotKept) {
  const ProcessResult result = run({});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("are too few to be kept"));
  EXPECT_FALSE(fs::exists(cache_));
}

TEST_F(PackCacheCommand, CanBeLeftOut) {
  ASSERT_EQ(run({"--load-mode", "mmap"}).code, 0);
  for (const ProcessResult& result :
       {run({"--load-mode", "mmap", "--no-pack-cache"}),
        run({"--load-mode", "mmap"}, {{"DUNLIN_ARG_NO_PACK_CACHE", "1"}}),
        run({"--load-mode", "mmap"}, {{"DUNLIN_PACK_CACHE", ""}})}) {
    EXPECT_EQ(result.code, 2) << result.err;
    EXPECT_THAT(result.err, HasSubstr("cannot be mapped"));
  }
  const ProcessResult copied = run({"--no-pack-cache"});
  EXPECT_EQ(copied.code, 0);
  EXPECT_THAT(copied.err, Not(HasSubstr("cache    ")));
}

TEST_F(PackCacheCommand, LiesInTheUsersCache) {
  const ProcessResult result =
      run_program("/usr/bin/env",
                  {"-u", "DUNLIN_PACK_CACHE", DUNLIN_BINARY, "run", model_, "--prompt-ids", "3",
                   "-n", "1", "--load-mode", "mmap"},
                  {.environment = {{"DUNLIN_CACHE", folder_.file("user")}}});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(files(folder_.file("user") + "/packed").size(), 1u);
}

// What verify and the benches load may be kept, too.
TEST_F(PackCacheCommand, OtherCommandsFindTheSameEntry) {
  const std::map<std::string, std::string> environment = {{"DUNLIN_PACK_CACHE", cache_}};
  for (int i = 0; i < 2; ++i) {
    const ProcessResult result = run_dunlin({"bench", "model", "-m", model_, "-p", "8", "-n", "2",
                                             "-r", "1", "-t", "1", "--load-mode", "mmap"},
                                            {.environment = environment});
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(files(cache_).size(), 1u);
  }
  const ProcessResult verified =
      run_dunlin({"verify", model_, "--ref", test_data("data/llama_plain/golden.safetensors"),
                  "--load-mode", "mmap"},
                 {.environment = environment});
  EXPECT_EQ(verified.code, 0) << verified.err;
  EXPECT_EQ(run({}).code, 0);
}

}  // namespace
}  // namespace dunlin
