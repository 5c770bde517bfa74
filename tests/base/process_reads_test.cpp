// Bytes from storage as /proc/self/io has them.
#include "base/process_reads.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "support/temporary_folder.h"

namespace dunlin {
namespace {

TEST(ProcessReads, TakesTheBytesOfStorage) {
  const TemporaryFolder folder;
  EXPECT_EQ(process_reads(folder.path()).bytes, 0u);
  std::filesystem::create_directory(folder.file("self"));
  std::ofstream(folder.file("self/io"))
      << "rchar: 323934931\nwchar: 323929600\nsyscr: 632687\nread_bytes: 4096\nwrite_bytes: 77\n";
  EXPECT_EQ(process_reads(folder.path()).bytes, 4096u);
}

TEST(ProcessReads, OnlyGrows) {
  const ProcessReads before = process_reads();
  const ProcessReads after = process_reads();
  EXPECT_GE(after.bytes, before.bytes);
  EXPECT_GE(after.major_faults, before.major_faults);
}

}  // namespace
}  // namespace dunlin
