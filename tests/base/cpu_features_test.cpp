// CPU features: names of instruction sets, consistency of what was found, and the control group's
// quota.
#include "base/cpu_features.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <thread>

namespace dunlin {
namespace {

TEST(CpuFeatures, IsaNamesRoundTrip) {
  for (int i = 0; i < kIsas; ++i) {
    const Isa isa = static_cast<Isa>(i);
    EXPECT_EQ(parse_isa(isa_name(isa)), isa);
  }
  EXPECT_EQ(parse_isa("AVX512"), Isa::avx512);
  EXPECT_EQ(parse_isa("sse9"), std::nullopt);
  EXPECT_EQ(parse_isa(""), std::nullopt);
}

TEST(CpuFeatures, AgreesWithTheCompilersDetection) {
  const CpuFeatures& features = cpu_features();
  const auto found = [&](const char* name) {
    return std::find(features.flags.begin(), features.flags.end(), name) != features.flags.end();
  };
  __builtin_cpu_init();
  EXPECT_EQ(found("avx2"), __builtin_cpu_supports("avx2") != 0);
  EXPECT_EQ(found("fma"), __builtin_cpu_supports("fma") != 0);
  EXPECT_EQ(found("avx512f"), __builtin_cpu_supports("avx512f") != 0);
  EXPECT_EQ(found("avx512_vnni"), __builtin_cpu_supports("avx512vnni") != 0);
  EXPECT_EQ(features.best >= Isa::avx2,
            __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"));
  EXPECT_FALSE(features.model.empty());
}

TEST(CpuFeatures, CoresAreWithinTheAffinityMask) {
  EXPECT_GE(cpu_features().cores, 1);
  EXPECT_LE(static_cast<unsigned>(cpu_features().cores),
            std::max(1u, std::thread::hardware_concurrency()));
}

class CgroupTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = std::filesystem::path(testing::TempDir()) / "dunlin_cgroup_test";
    std::filesystem::remove_all(root_);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }

  std::filesystem::path root_;
};

TEST_F(CgroupTest, Version2TakesTheTightestParent) {
  write("cpu.max", "max 100000\n");
  write("box/cpu.max", "150000 100000\n");
  write("box/job/cpu.max", "400000 100000\n");
  const auto quota = cgroup_cpu_quota("0::/box/job\n", root_.string());
  ASSERT_TRUE(quota.has_value());
  EXPECT_DOUBLE_EQ(*quota, 1.5);
}

TEST_F(CgroupTest, Version1ReadsTheCpuHierarchy) {
  write("cpu,cpuacct/box/cpu.cfs_quota_us", "300000\n");
  write("cpu,cpuacct/box/cpu.cfs_period_us", "100000\n");
  write("cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  write("cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  const auto quota = cgroup_cpu_quota("5:memory:/x\n4:cpu,cpuacct:/box\n", root_.string());
  ASSERT_TRUE(quota.has_value());
  EXPECT_DOUBLE_EQ(*quota, 3.0);
}

TEST_F(CgroupTest, NoLimitOrNoFilesGiveNothing) {
  EXPECT_EQ(cgroup_cpu_quota("0::/box\n", root_.string()), std::nullopt);
  write("box/cpu.max", "max 100000\n");
  EXPECT_EQ(cgroup_cpu_quota("0::/box\n", root_.string()), std::nullopt);
  write("box/cpu.max", "rubbish");
  EXPECT_EQ(cgroup_cpu_quota("0::/box\n:\nno colon\n1:cpu:relative\n", root_.string()),
            std::nullopt);
}

}  // namespace
}  // namespace dunlin
