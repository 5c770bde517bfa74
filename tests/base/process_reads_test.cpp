// Bytes from storage as /proc/self/io has them.
#include "base/process_reads.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace dunlin {
namespace {

namespace fs = std::filesystem;

TEST(ProcessReads, TakesTheBytesOfStorage) {
  std::string folder = testing::TempDir() + "dunlin_reads_XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  EXPECT_EQ(process_reads(folder).bytes, 0u);
  fs::create_directories(folder + "/self");
  std::ofstream(folder + "/self/io")
      << "rchar: 323934931\nwchar: 323929600\nsyscr: 632687\nread_bytes: 4096\nwrite_bytes: 77\n";
  EXPECT_EQ(process_reads(folder).bytes, 4096u);
  fs::remove_all(folder);
}

TEST(ProcessReads, OnlyGrows) {
  const ProcessReads before = process_reads();
  const ProcessReads after = process_reads();
  EXPECT_GE(after.bytes, before.bytes);
  EXPECT_GE(after.major_faults, before.major_faults);
}

}  // namespace
}  // namespace dunlin
