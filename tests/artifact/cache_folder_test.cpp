// CacheFolder: which entries make room for others, and what is left alone.
#include "artifact/cache_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "support/temporary_folder.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class CacheFolderTest : public testing::Test {
 protected:
  // A file of 100 bytes that was used so many hours ago.
  void put(const std::string& path, int hours) const {
    std::ofstream(path) << std::string(100, 'x');
    fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::hours(hours));
  }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(cache_.path()))
      names.push_back(entry.path().filename().string());
    std::ranges::sort(names);
    return names;
  }

  TemporaryFolder above_;
  CacheFolder cache_{above_.file("deep/cache"), ".entry"};
};

TEST_F(CacheFolderTest, IsMadeForItsOwnerAlone) {
  ASSERT_TRUE(cache_.create().ok());
  ASSERT_TRUE(cache_.create().ok());
  struct stat status = {};
  ASSERT_EQ(::stat(cache_.path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0700u);
  EXPECT_FALSE(cache_.is_open_to_all());
  fs::permissions(cache_.path(), fs::perms::all);
  EXPECT_TRUE(cache_.is_open_to_all());
}

TEST_F(CacheFolderTest, AFileInItsPlaceIsNamed) {
  std::ofstream(above_.file("deep")) << "a file";
  const auto created = cache_.create();
  ASSERT_FALSE(created.ok());
  EXPECT_THAT(created.error().message, HasSubstr(cache_.path()));
  cache_.shrink(0);
}

TEST_F(CacheFolderTest, WhatWasNotUsedForLongestGoesFirst) {
  ASSERT_TRUE(cache_.create().ok());
  for (const int hours : {1, 2, 3, 4}) put(cache_.entry(std::to_string(hours)), hours);
  put(cache_.path() + "/notes.txt", 9);
  cache_.shrink(400);
  EXPECT_THAT(files(), ElementsAre("1.entry", "2.entry", "3.entry", "4.entry", "notes.txt"));
  cache_.touch("4");
  cache_.shrink(250);
  EXPECT_THAT(files(), ElementsAre("1.entry", "4.entry", "notes.txt"));
  cache_.shrink(0);
  EXPECT_THAT(files(), ElementsAre("notes.txt"));
}

TEST_F(CacheFolderTest, TemporariesGoWithTheirWriters) {
  ASSERT_TRUE(cache_.create().ok());
  const std::string left = AtomicFile::temporary_of(cache_.entry("left"));
  put(left, 2);
  put(AtomicFile::temporary_of(cache_.path() + "/other.file"), 2);
  auto writer = AtomicFile::create(cache_.entry("written"));
  ASSERT_TRUE(writer.ok()) << writer.error().message;
  // However long ago its last byte was written.
  fs::last_write_time(writer->temporary(),
                      fs::file_time_type::clock::now() - std::chrono::hours(3));
  cache_.shrink(1000);
  EXPECT_THAT(files(), ElementsAre("other.file.tmp", "written.entry.tmp"));
  ASSERT_TRUE(writer->commit().ok());
  EXPECT_THAT(files(), ElementsAre("other.file.tmp", "written.entry"));
}

// Somebody may be about to lock it.
TEST_F(CacheFolderTest, AYoungTemporaryStays) {
  ASSERT_TRUE(cache_.create().ok());
  put(AtomicFile::temporary_of(cache_.entry("young")), 0);
  cache_.shrink(0);
  EXPECT_THAT(files(), ElementsAre("young.entry.tmp"));
}

}  // namespace
}  // namespace dunlin
