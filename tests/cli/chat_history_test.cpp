#include "cli/chat_history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "support/temporary_folder.h"

namespace dunlin {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class ChatHistory : public testing::Test {
 protected:
  TemporaryFolder folder_;
  const std::string path_ = folder_.file("state/dunlin/chat_history");
};

TEST_F(ChatHistory, KeepsEntriesWithTheirLinesInOrder) {
  EXPECT_THAT(read_history(path_), IsEmpty());
  for (const char* entry : {"one", "two\nlines", "back\\slash\\n", "größer", "trailing\\"})
    ASSERT_TRUE(append_history(path_, entry).ok());
  EXPECT_THAT(read_history(path_),
              ElementsAre("one", "two\nlines", "back\\slash\\n", "größer", "trailing\\"));
}

TEST_F(ChatHistory, OnlyTheUserReadsIt) {
  ASSERT_TRUE(append_history(path_, "secret").ok());
  struct stat info = {};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  ASSERT_EQ(::stat(folder_.file("state/dunlin").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
}

TEST_F(ChatHistory, IsCutToTheNewest) {
  std::filesystem::create_directories(folder_.file("state/dunlin"));
  {
    std::ofstream file(path_);
    for (size_t i = 0; i < 2 * kMostHistoryEntries; ++i) file << i << '\n';
  }
  EXPECT_EQ(read_history(path_).size(), kMostHistoryEntries);
  ASSERT_TRUE(append_history(path_, "newest").ok());
  const auto entries = read_history(path_);
  ASSERT_EQ(entries.size(), kMostHistoryEntries);
  EXPECT_EQ(entries.back(), "newest");
  EXPECT_EQ(entries.front(), std::to_string(kMostHistoryEntries + 1));
  struct stat info = {};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(ChatHistory, SeveralChatsAddAtATime) {
  std::filesystem::create_directories(folder_.file("state/dunlin"));
  {
    std::ofstream file(path_);
    for (size_t i = 0; i < 2 * kMostHistoryEntries - 50; ++i) file << "old\n";
  }
  for (int child = 0; child < 4; ++child) {
    if (::fork() == 0) {
      bool good = true;
      for (int i = 0; i < 25; ++i) good = append_history(path_, "new").ok() && good;
      ::_exit(good ? 0 : 1);
    }
  }
  for (int child = 0; child < 4; ++child) {
    int status = 0;
    ::wait(&status);
    EXPECT_EQ(status, 0);
  }
  const auto entries = read_history(path_);
  EXPECT_EQ(std::ranges::count(entries, "new"), 100);
}

TEST_F(ChatHistory, WhatCannotBeKeptIsAnError) {
  EXPECT_FALSE(append_history("/proc/none/chat_history", "x").ok());
  EXPECT_FALSE(append_history(folder_.path(), "x").ok());
  EXPECT_THAT(read_history(folder_.path()), IsEmpty());
  EXPECT_THAT(read_history("/dev/zero"), IsEmpty());
}

}  // namespace
}  // namespace dunlin
