// Memory of the machine, and of control groups in a tree of the test's own.
#include "base/system_memory.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include "support/temporary_folder.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMegabyte = 1 << 20;

class SystemMemory : public testing::Test {
 protected:
  void put(const std::string& path, const std::string& text) const {
    const fs::path file = folder_.file(path);
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  void group(const std::string& line) const { put("proc/self/cgroup", line + "\n"); }
  void machine_has(uint64_t free_bytes) const {
    put("proc/meminfo", "MemTotal:       99999999 kB\nMemAvailable:   " +
                            std::to_string(free_bytes / 1024) + " kB\n");
  }

  TemporaryFolder folder_;
  const SystemFiles files_ = {.proc = folder_.file("proc"), .cgroup = folder_.file("cgroup")};
};

// As the C library counts its pages, and swap besides.
TEST_F(SystemMemory, HoldsAllPagesWhereNoGroupLimitsThem) {
  const auto pages = static_cast<uint64_t>(::get_phys_pages());
  const auto page_bytes = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  ASSERT_GT(pages, 0u);
  // Rounded to the unit of sysinfo().
  EXPECT_GE(system_memory(files_), (pages - 1) * page_bytes);
  EXPECT_LT(system_memory(files_), uint64_t{1} << 60);
  EXPECT_LE(system_memory(), system_memory(files_));
  EXPECT_GT(system_memory(), 0u);
  EXPECT_GT(available_memory(), 0u);
  EXPECT_EQ(available_memory(files_), UINT64_MAX);
}

TEST_F(SystemMemory, TheLeastOfTheMachineAndAllGroupsCounts) {
  group("0::/outer/inner");
  put("cgroup/outer/memory.max", "67108864\n");
  put("cgroup/outer/memory.swap.max", "0\n");
  put("cgroup/outer/memory.current", "4194304\n");
  put("cgroup/outer/inner/memory.max", "max\n");
  put("cgroup/outer/inner/memory.current", "1048576\n");
  machine_has(100 * kMegabyte);
  EXPECT_EQ(system_memory(files_), 64 * kMegabyte);
  EXPECT_EQ(available_memory(files_), 60 * kMegabyte);
  put("cgroup/outer/inner/memory.max", "8388608\n");
  put("cgroup/outer/inner/memory.swap.max", "0\n");
  EXPECT_EQ(system_memory(files_), 8 * kMegabyte);
  EXPECT_EQ(available_memory(files_), 7 * kMegabyte);
  machine_has(5 * kMegabyte);
  EXPECT_EQ(available_memory(files_), 5 * kMegabyte);
  machine_has(0);
  EXPECT_EQ(available_memory(files_), 0u);
}

TEST_F(SystemMemory, CachedFilesOfAGroupCountAsFree) {
  group("0::/a");
  put("cgroup/a/memory.max", "10485760\n");
  put("cgroup/a/memory.current", "10485760\n");
  put("cgroup/a/memory.stat",
      "anon 2097152\nfile 8388608\nfile_mapped 1\ninactive_file 5242880\nactive_file 1048576\n"
      "unevictable 2097152\n");
  EXPECT_EQ(available_memory(files_), 6 * kMegabyte);
  // More cached than used: counters that were read at two moments.
  put("cgroup/a/memory.current", "1048576\n");
  EXPECT_EQ(available_memory(files_), 10 * kMegabyte);
}

TEST_F(SystemMemory, AGroupOverItsLimitLeavesNothing) {
  group("0::/a");
  put("cgroup/a/memory.max", "1048576\n");
  put("cgroup/a/memory.current", "2097152\n");
  EXPECT_EQ(available_memory(files_), 0u);
}

TEST_F(SystemMemory, VersionOneHasOtherNames) {
  group("9:cpuset:/a\n4:cpu,memory:/a/b\n1:name=systemd:/a\n0::/");
  put("cgroup/memory/a/memory.limit_in_bytes", "20971520\n");
  put("cgroup/memory/a/memory.memsw.limit_in_bytes", "31457280\n");
  put("cgroup/memory/a/memory.usage_in_bytes", "5242880\n");
  put("cgroup/memory/a/memory.stat",
      "inactive_file 9\nactive_file 9\ntotal_inactive_file 1048576\ntotal_active_file 1048576\n");
  put("cgroup/memory/a/b/memory.limit_in_bytes", "9223372036854771712\n");
  put("cgroup/memory/a/b/memory.usage_in_bytes", "5242880\n");
  EXPECT_EQ(system_memory(files_), 30 * kMegabyte);
  EXPECT_EQ(available_memory(files_), 17 * kMegabyte);
}

// Only its own group is mounted in the container, and the name is the host's.
TEST_F(SystemMemory, AContainerSeesItsGroupAsTheRoot) {
  for (const char* line : {"4:memory:/docker/0123", "4:memory:/../0123"}) {
    group(line);
    put("cgroup/memory/memory.limit_in_bytes", "3145728\n");
    put("cgroup/memory/memory.memsw.limit_in_bytes", "3145728\n");
    put("cgroup/memory/memory.usage_in_bytes", "1048576\n");
    EXPECT_EQ(system_memory(files_), 3 * kMegabyte) << line;
    EXPECT_EQ(available_memory(files_), 2 * kMegabyte) << line;
  }
}

TEST_F(SystemMemory, WhatIsNoGroupIsPassedOver) {
  machine_has(7 * kMegabyte);
  for (const char* line : {"", ":", "0:", "nonsense", "0::/none", "3:cpu,memoryless:/a"}) {
    group(line);
    EXPECT_EQ(available_memory(files_), 7 * kMegabyte) << line;
  }
  group("0::/a");
  put("cgroup/a/memory.max", "plenty\n");
  EXPECT_EQ(available_memory(files_), 7 * kMegabyte);
}

// The soft limit of the data segment, put back afterwards.
TEST_F(SystemMemory, LimitsOfTheProcessCount) {
  rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_DATA, &before), 0);
  machine_has(uint64_t{1} << 51);
  put("proc/self/status", "VmPeak:\t    9 kB\nVmSize:\t    2048 kB\nVmData:\t    1024 kB\n");
  // Far from what a sanitizer needs, or all that this process may have; RLIM_INFINITY is the largest.
  const uint64_t limit = std::min<uint64_t>(before.rlim_max, uint64_t{1} << 50);
  rlimit limited = before;
  limited.rlim_cur = limit;
  ASSERT_EQ(::setrlimit(RLIMIT_DATA, &limited), 0);
  const uint64_t left = available_memory(files_);
  ASSERT_EQ(::setrlimit(RLIMIT_DATA, &before), 0);
  EXPECT_EQ(left, limit - kMegabyte);
}

}  // namespace
}  // namespace dunlin
