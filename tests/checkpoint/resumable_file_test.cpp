// ResumableFile: whole parts outlive a run that was ended, and only for the same key and first part.
#include "checkpoint/resumable_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "support/temporary_folder.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

class ResumableFileTest : public testing::Test {
 protected:
  std::string content(const std::string& path) const {
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
  }
  ResumableFile open(const std::string& key, const std::string& header = "head") const {
    auto file = ResumableFile::create(path_, key);
    if (!file.ok()) throw std::runtime_error(file.error().message);
    if (const auto begun = file->begin(bytes_of(header), 100); !begun.ok())
      throw std::runtime_error(begun.error().message);
    return std::move(*file);
  }
  static void put(ResumableFile& file, const std::string& part) {
    ASSERT_TRUE(file.write(bytes_of(part)).ok());
    ASSERT_TRUE(file.end_part().ok());
  }
  // Two parts and a half.
  void leave(const std::string& key) const {
    ResumableFile file = open(key);
    put(file, "one");
    put(file, "two2");
    ASSERT_TRUE(file.write(bytes_of("thr")).ok());
  }

  TemporaryFolder folder_;
  const std::string path_ = folder_.file("a");
};

TEST_F(ResumableFileTest, GoesOnAfterTheWholeParts) {
  leave("key");
  EXPECT_FALSE(fs::exists(path_));
  EXPECT_TRUE(ResumableFile::is_unfinished(path_ + ".tmp"));
  {
    ResumableFile file = open("key");
    EXPECT_TRUE(file.keeps_parts());
    EXPECT_TRUE(file.skip_part(3).value());
    EXPECT_TRUE(file.skip_part(4).value());
    EXPECT_FALSE(file.skip_part(5).value());
    put(file, "three");
    ASSERT_TRUE(file.commit().ok());
  }
  EXPECT_EQ(content(path_), "headonetwo2three");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), fs::directory_iterator()), 1);
  EXPECT_FALSE(ResumableFile::is_unfinished(path_));
}

TEST_F(ResumableFileTest, APartMayBeWrittenAheadOfTheOneBeforeIt) {
  {
    ResumableFile file = open("key");
    ASSERT_TRUE(file.write_ahead(7, bytes_of("tw")).ok());  // behind "one"
    ASSERT_TRUE(file.write(bytes_of("on")).ok());
    ASSERT_TRUE(file.write_ahead(7, bytes_of("o")).ok());
    put(file, "e");
    put(file, "2");  // what was not there ahead
    ASSERT_TRUE(file.write_ahead(16, bytes_of("four")).ok());
    ASSERT_TRUE(file.write(bytes_of("thr")).ok());
  }
  ResumableFile file = open("key");
  EXPECT_TRUE(file.skip_part(3).value());
  EXPECT_TRUE(file.skip_part(4).value());
  EXPECT_FALSE(file.skip_part(5).value());
  put(file, "three");
  EXPECT_FALSE(file.skip_part(4).value());
  put(file, "4444");
  ASSERT_TRUE(file.commit().ok());
  EXPECT_EQ(content(path_), "headonetwo2three4444");
}

TEST_F(ResumableFileTest, WithoutAKeyPartsAreWrittenAheadToo) {
  ResumableFile file = open("");
  ASSERT_TRUE(file.write_ahead(7, bytes_of("two")).ok());
  put(file, "one");
  ASSERT_TRUE(file.end_part().ok());
  put(file, "three");
  ASSERT_TRUE(file.commit().ok());
  EXPECT_EQ(content(path_), "headonetwothree");
}

TEST_F(ResumableFileTest, AnotherKeyFirstPartOrSizeBeginsAnew) {
  leave("key");
  EXPECT_FALSE(open("other").skip_part(3).value());
  leave("key");
  EXPECT_FALSE(open("key", "HEAD").skip_part(3).value());
  leave("key");
  {
    ResumableFile file = open("key");
    EXPECT_FALSE(file.skip_part(4).value());
    put(file, "1234");
    EXPECT_FALSE(file.skip_part(4).value());  // what came behind is gone
    ASSERT_TRUE(file.commit().ok());
  }
  EXPECT_EQ(content(path_), "head1234");
}

TEST_F(ResumableFileTest, WithoutAKeyOrAPartNothingStays) {
  leave("");
  EXPECT_TRUE(fs::is_empty(folder_.path()));
  {
    const ResumableFile file = open("key");
  }  // the header alone is worth nothing
  EXPECT_TRUE(fs::is_empty(folder_.path()));
  leave("key");
  {
    ResumableFile file = open("key");
    file.discard();
  }
  EXPECT_TRUE(fs::is_empty(folder_.path()));
}

TEST_F(ResumableFileTest, TakesAllPartsOfARunThatWasEndedBeforeTheLastStep) {
  leave("key");
  {
    ResumableFile file = open("key");
    EXPECT_TRUE(file.skip_part(3).value());
    EXPECT_TRUE(file.skip_part(4).value());
    ASSERT_TRUE(file.commit().ok());
  }
  EXPECT_EQ(content(path_), "headonetwo2");  // not what was half written
}

}  // namespace
}  // namespace dunlin
