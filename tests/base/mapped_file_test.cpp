// MappedFile, and what the disk has room for.
#include "base/mapped_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <string>

#include "base/disk_space.h"
#include "support/temporary_folder.h"

namespace dunlin {
namespace {

class MappedFileTest : public testing::Test {
 protected:
  TemporaryFolder folder_;
  const std::string path_ = folder_.file("a");
};

TEST_F(MappedFileTest, HoldsTheBytesOfTheFile) {
  const std::string text(10'001, 'x');
  std::ofstream(path_) << text;
  auto file = MappedFile::open(path_);
  ASSERT_TRUE(file.ok()) << file.error().message;
  file->read_ahead();
  const MappedFile moved = std::move(*file);
  EXPECT_TRUE(file->bytes().empty());
  ASSERT_EQ(moved.bytes().size(), text.size());
  EXPECT_EQ(reinterpret_cast<uintptr_t>(moved.bytes().data()) % 4096, 0u);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(moved.bytes().data()), text.size()), text);
}

TEST_F(MappedFileTest, RefusesWhatIsNoFile) {
  EXPECT_EQ(MappedFile::open(path_).error().kind, ErrorKind::model);
  EXPECT_NE(MappedFile::open(path_).error().message.find("No such file"), std::string::npos);
  EXPECT_FALSE(MappedFile::open(folder_.path()).ok());
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  EXPECT_FALSE(MappedFile::open(path_).ok());
  std::ofstream(folder_.file("empty")).close();
  const auto empty = MappedFile::open(folder_.file("empty"));
  EXPECT_TRUE(empty->bytes().empty());
  empty->read_ahead();
}

TEST_F(MappedFileTest, DiskSpaceIsComparedWithWhatIsToBeWritten) {
  EXPECT_TRUE(check_disk_space("out", folder_.path(), 0).ok());
  const auto refused = check_disk_space("out", folder_.path(), uint64_t{1} << 62);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind, ErrorKind::does_not_fit);
  EXPECT_TRUE(refused.error().message.starts_with("out: 4611686018427.4 MB are still"))
      << refused.error().message;
  EXPECT_TRUE(check_disk_space("out", folder_.file("none"), uint64_t{1} << 62).ok());  // not known
}

}  // namespace
}  // namespace dunlin
