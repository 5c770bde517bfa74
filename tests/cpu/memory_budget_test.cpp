// The budget of mapped weights, from a variable and from a tree of the test's own.
#include "backend/cpu/memory_budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include "support/temporary_folder.h"
#include "tiny_mapped_weights.h"

namespace dunlin::cpu {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class WeightsBudget : public testing::Test {
 protected:
  void SetUp() override { put("proc/meminfo", "MemAvailable:    8192 kB\n"); }

  void put(const std::string& path, const std::string& text) const {
    const fs::path file = folder_.file(path);
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }

  TemporaryFolder folder_;
  const SystemFiles files_ = {.proc = folder_.file("proc"), .cgroup = folder_.file("cgroup")};
};

TEST_F(WeightsBudget, AnEighthOfTheMemoryStaysFree) {
  EXPECT_EQ(weights_budget(0, files_).value(), 7u << 20);
  EXPECT_EQ(weights_budget(3 << 20, files_).value(), 4u << 20);
}

TEST_F(WeightsBudget, AControlGroupsLimitCounts) {
  put("proc/self/cgroup", "0::/a\n");
  put("cgroup/a/memory.max", "4194304\n");
  put("cgroup/a/memory.current", "2097152\n");
  put("cgroup/a/memory.stat", "anon 0\ninactive_file 1048576\nactive_file 1048576\n");
  EXPECT_EQ(weights_budget(0, files_).value(), 7u << 19);
}

TEST_F(WeightsBudget, WhatTheCallerNeedsMustFit) {
  EXPECT_EQ(weights_budget(7 << 20, files_).value(), 0u);
  const auto refused = weights_budget((7 << 20) + 1, files_);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind, ErrorKind::does_not_fit);
  EXPECT_EQ(refused.error().message,
            "--offload: the KV cache needs 0.01 GiB beside the weights, and 0.01 GiB of memory can "
            "be had");
}

TEST_F(WeightsBudget, TheVariableIsTheBudget) {
  const std::pair<const char*, uint64_t> sizes[] = {
      {"0", 0}, {"12345", 12345}, {"3K", 3072}, {"5M", 5u << 20}, {"6G", uint64_t{6} << 30}};
  for (const auto& [written, bytes] : sizes) {
    const MemoryBudget variable(written);
    EXPECT_EQ(weights_budget(100 << 20, files_).value(), bytes) << written;
  }
  const MemoryBudget empty("");
  EXPECT_EQ(weights_budget(0, files_).value(), 7u << 20);
}

TEST_F(WeightsBudget, AVariableThatIsNoSizeIsRefused) {
  for (const char* written :
       {"x", "G", "-1", "1.5G", "6 G", "6GB", "18446744073709551616", "18446744073709551615K"}) {
    const MemoryBudget variable(written);
    const auto refused = weights_budget(0, files_);
    ASSERT_FALSE(refused.ok()) << written;
    EXPECT_EQ(refused.error().kind, ErrorKind::usage);
    EXPECT_THAT(refused.error().message, HasSubstr("DUNLIN_MEMORY_BUDGET: \"")) << written;
  }
}

TEST_F(WeightsBudget, ASystemThatSaysNothingHasNoLimit) {
  fs::remove(folder_.file("proc/meminfo"));
  EXPECT_EQ(weights_budget(1, files_).value(), UINT64_MAX);
}

}  // namespace
}  // namespace dunlin::cpu
