// AtomicFolder: whole or absent, one filler at a time, and nothing of anybody else's is removed.
#include "base/atomic_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <vector>

#include "support/temporary_folder.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class AtomicFolderTest : public testing::Test {
 protected:
  static std::vector<std::string> names(const std::string& folder) {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder))
      found.push_back(entry.path().filename().string());
    std::ranges::sort(found);
    return found;
  }
  static void put(const std::string& path) { std::ofstream(path) << "text"; }

  TemporaryFolder folder_;
  const std::string path_ = folder_.file("a");
};

TEST_F(AtomicFolderTest, AppearsWithItsFiles) {
  auto folder = AtomicFolder::create(path_ + "/");
  ASSERT_TRUE(folder.ok()) << folder.error().message;
  put(folder->temporary() + "/one");
  put(folder->temporary() + "/two");
  EXPECT_FALSE(fs::exists(path_));
  ASSERT_TRUE(folder->commit().ok());
  EXPECT_THAT(names(folder_.path()), ElementsAre("a"));
  EXPECT_THAT(names(path_), ElementsAre("one", "two"));
}

TEST_F(AtomicFolderTest, TakesThePlaceOfAnEmptyFolderOnly) {
  fs::create_directory(path_);
  ASSERT_TRUE(AtomicFolder::create(path_)->commit().ok());
  EXPECT_THAT(names(path_), IsEmpty());
  put(path_ + "/file");
  const auto full = AtomicFolder::create(path_);
  ASSERT_FALSE(full.ok());
  EXPECT_EQ(full.error().kind, ErrorKind::usage);
  EXPECT_EQ(full.error().message, path_ + ": is there already");
  EXPECT_EQ(AtomicFolder::create(path_ + "/file").error().message,
            path_ + "/file: is there already");
  fs::create_directory(folder_.file("empty"));
  for (const char* target : {"nowhere", "empty"}) {
    fs::create_symlink(target, folder_.file("link"));
    EXPECT_FALSE(AtomicFolder::create(folder_.file("link")).ok()) << target;
    fs::remove(folder_.file("link"));
  }
  EXPECT_THAT(AtomicFolder::create(folder_.file("none/b")).error().message,
              HasSubstr("No such file"));
  EXPECT_THAT(names(folder_.path()), ElementsAre("a", "empty"));
}

TEST_F(AtomicFolderTest, WithoutCommitNothingIsLeft) {
  {
    auto folder = AtomicFolder::create(path_);
    put(folder->temporary() + "/one");
    auto moved = std::move(*folder);
    EXPECT_THAT(AtomicFolder::create(path_).error().message,
                HasSubstr("another process is writing it"));
  }
  EXPECT_THAT(names(folder_.path()), IsEmpty());
}

TEST_F(AtomicFolderTest, WhatAKilledFillerLeftIsTakenOver) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto folder = AtomicFolder::create(path_);
    put(folder->temporary() + "/half");
    put(folder_.file("ready"));
    ::pause();
    ::_exit(1);
  }
  while (!fs::exists(folder_.file("ready"))) ::usleep(1000);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_THAT(names(folder_.path()), ElementsAre("a.tmp", "ready"));
  auto folder = AtomicFolder::create(path_);
  ASSERT_TRUE(folder.ok()) << folder.error().message;
  put(folder->temporary() + "/whole");
  ASSERT_TRUE(folder->commit().ok());
  EXPECT_THAT(names(path_), ElementsAre("whole"));
}

TEST_F(AtomicFolderTest, TheSameKeyGoesOnWithWhatWasLeft) {
  const auto leave = [this] {
    auto folder = AtomicFolder::create(path_, "key");
    put(folder->temporary() + "/one");
    folder->keep(true);
  };
  leave();
  EXPECT_TRUE(AtomicFolder::is_unfinished(path_ + ".tmp"));
  {
    EXPECT_EQ(AtomicFolder::create(path_, "key")->left_bytes(), 4u);
  }
  EXPECT_THAT(names(path_ + ".tmp"), ElementsAre(".dunlin-unfinished", "one"));
  {
    auto folder = AtomicFolder::create(path_, "key");
    put(folder->temporary() + "/two");
    ASSERT_TRUE(folder->commit().ok());
  }
  EXPECT_THAT(names(path_), ElementsAre("one", "two"));
  EXPECT_FALSE(AtomicFolder::is_unfinished(path_));
  for (const char* other : {"other", ""}) {
    fs::remove_all(path_);
    leave();
    auto folder = AtomicFolder::create(path_, other);
    EXPECT_EQ(folder->left_bytes(), 0u);
    ASSERT_TRUE(folder->commit().ok());
    EXPECT_THAT(names(path_), IsEmpty());
  }
}

TEST_F(AtomicFolderTest, AFolderOfTheUserIsNotTakenForATemporary) {
  fs::create_directory(path_ + ".tmp");
  put(path_ + ".tmp/thesis");
  const auto refused = AtomicFolder::create(path_);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().message, path_ + ".tmp: is in the way; remove it first");
  EXPECT_THAT(names(path_ + ".tmp"), ElementsAre("thesis"));
}

}  // namespace
}  // namespace dunlin
