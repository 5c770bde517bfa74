// The speed of a disk: a file that is read and gone, or a reason.
#include "cli/disk_bandwidth.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "support/temporary_folder.h"

namespace dunlin {
namespace {

using testing::HasSubstr;

class DiskBandwidth : public testing::Test {
 protected:
  TemporaryFolder folder_;
};

// A temporary folder may lie in memory, which is no disk and is told.
TEST_F(DiskBandwidth, IsMeasuredOrRefusedAndLeavesNothing) {
  const std::string place = folder_.file("deep/packed");
  const auto speed = measure_disk_gb_s(place, (5 << 20) + 4096, 0);
  if (speed.ok()) {
    EXPECT_GT(*speed, 0);
  } else {
    EXPECT_EQ(speed.error().kind, ErrorKind::runtime);
    EXPECT_THAT(speed.error().message, HasSubstr(place + ": its files stay in memory"));
  }
  EXPECT_TRUE(std::filesystem::is_empty(place));
}

TEST_F(DiskBandwidth, AFolderThatCannotBeMadeIsNamed) {
  std::ofstream(folder_.file("file")) << "x";
  const auto speed = measure_disk_gb_s(folder_.file("file/packed"), 1 << 20, 0);
  ASSERT_FALSE(speed.ok());
  EXPECT_THAT(speed.error().message, HasSubstr(folder_.file("file/packed")));
}

TEST_F(DiskBandwidth, ADiskThatIsTooSmallIsNotFilled) {
  const auto speed = measure_disk_gb_s(folder_.path(), uint64_t{1} << 60, 0);
  ASSERT_FALSE(speed.ok());
  EXPECT_EQ(speed.error().kind, ErrorKind::does_not_fit);
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

}  // namespace
}  // namespace dunlin
