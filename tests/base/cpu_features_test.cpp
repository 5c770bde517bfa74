// CPU features: names of instruction sets, consistency of what was found, and the control group's
// quota.
#include "base/cpu_features.h"

#include <gtest/gtest.h>
#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "support/temporary_folder.h"

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

// Flags of real processors, as far as they decide anything.
TEST(CpuFeatures, EveryProcessorGetsTheRowItCanRun) {
  using Flags = std::vector<std::string>;
  const auto with = [](Flags flags, const Flags& more) {
    flags.insert(flags.end(), more.begin(), more.end());
    return flags;
  };
  const Flags ivy_bridge = {"avx", "f16c"};
  const Flags haswell = {"avx", "fma", "f16c", "avx2"};  // and Zen 1 to 3
  const Flags alder_lake = with(haswell, {"avx_vnni"});
  const Flags knights_landing = with(haswell, {"avx512f"});
  const Flags skylake_x = with(haswell, {"avx512f", "avx512dq", "avx512bw", "avx512vl"});
  const Flags cascade_lake = with(skylake_x, {"avx512_vnni"});
  const Flags zen4 = with(cascade_lake, {"avx512vbmi", "avx512_bf16"});
  const Flags sapphire_rapids = with(zen4, {"avx_vnni", "amx_bf16", "amx_tile", "amx_int8"});
  const Flags tiles_without_bf16 = with(zen4, {"amx_tile", "amx_int8"});
  const Flags tiles_without_avx512 = with(haswell, {"amx_bf16", "amx_tile", "amx_int8"});
  EXPECT_EQ(best_isa({}), Isa::scalar);
  EXPECT_EQ(best_isa(ivy_bridge), Isa::scalar);
  EXPECT_EQ(best_isa(haswell), Isa::avx2);
  EXPECT_EQ(best_isa(alder_lake), Isa::avx2);
  EXPECT_EQ(best_isa(knights_landing), Isa::avx2);
  EXPECT_EQ(best_isa(skylake_x), Isa::avx2);  // no VNNI
  EXPECT_EQ(best_isa(cascade_lake), Isa::avx512);
  EXPECT_EQ(best_isa(zen4), Isa::avx512);
  EXPECT_EQ(best_isa(sapphire_rapids), Isa::amx);
  EXPECT_EQ(best_isa(tiles_without_bf16), Isa::avx512);
  EXPECT_EQ(best_isa(tiles_without_avx512), Isa::avx2);
  const Flags cortex_a72 = {"asimd"};
  const Flags neoverse_n1 = with(cortex_a72, {"fphp", "asimdhp", "asimdrdm", "asimddp"});
  const Flags neoverse_v1 = with(neoverse_n1, {"sve", "i8mm", "bf16"});
  const Flags products_without_dotprod = with(cortex_a72, {"i8mm"});
  EXPECT_EQ(best_isa(cortex_a72), Isa::neon);
  EXPECT_EQ(best_isa(neoverse_n1), Isa::dotprod);
  EXPECT_EQ(best_isa(neoverse_v1), Isa::i8mm);
  EXPECT_EQ(best_isa(products_without_dotprod), Isa::neon);
}

TEST(CpuFeatures, AnIsaIncludesThoseOfItsKindBelowIt) {
  const std::vector<Isa> x86 = {Isa::scalar, Isa::avx2, Isa::avx512, Isa::amx};
  const std::vector<Isa> arm = {Isa::scalar, Isa::neon, Isa::dotprod, Isa::i8mm};
  EXPECT_EQ(isas_up_to(Isa::amx), x86);
  EXPECT_EQ(isas_up_to(Isa::i8mm), arm);
  EXPECT_EQ(isas_up_to(Isa::scalar), std::vector<Isa>{Isa::scalar});
  EXPECT_TRUE(includes(Isa::amx, Isa::avx2));
  EXPECT_TRUE(includes(Isa::dotprod, Isa::dotprod));
  EXPECT_TRUE(includes(Isa::neon, Isa::scalar));
  EXPECT_FALSE(includes(Isa::avx2, Isa::avx512));
  EXPECT_FALSE(includes(Isa::i8mm, Isa::avx2));
  EXPECT_FALSE(includes(Isa::amx, Isa::neon));
  EXPECT_TRUE(includes(kHighestIsa, cpu_features().best));
}

TEST(CpuFeatures, BestFollowsFromTheFlagsUnlessTilesAreRefused) {
  const CpuFeatures& features = cpu_features();
  if (features.tile_refusal.empty()) {
    EXPECT_EQ(features.best, best_isa(features.flags));
  } else {
    EXPECT_EQ(best_isa(features.flags), Isa::amx);
    EXPECT_EQ(features.best, Isa::avx512);
  }
}

TEST(CpuFeatures, AgreesWithTheDetectionOfOthers) {
  const CpuFeatures& features = cpu_features();
  const auto found = [&](const char* name) {
    return std::find(features.flags.begin(), features.flags.end(), name) != features.flags.end();
  };
#if defined(__x86_64__)
  __builtin_cpu_init();
  EXPECT_EQ(found("avx2"), __builtin_cpu_supports("avx2") != 0);
  EXPECT_EQ(found("fma"), __builtin_cpu_supports("fma") != 0);
  EXPECT_EQ(found("avx512f"), __builtin_cpu_supports("avx512f") != 0);
  EXPECT_EQ(found("avx512_vnni"), __builtin_cpu_supports("avx512vnni") != 0);
  EXPECT_EQ(includes(features.best, Isa::avx2),
            __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"));
#else
  const unsigned long capabilities = getauxval(AT_HWCAP);
  EXPECT_EQ(found("asimd"), (capabilities & HWCAP_ASIMD) != 0);
  EXPECT_EQ(found("asimddp"), (capabilities & HWCAP_ASIMDDP) != 0);
  EXPECT_EQ(found("sve"), (capabilities & HWCAP_SVE) != 0);
  EXPECT_EQ(found("i8mm"), (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0);
  EXPECT_TRUE(includes(features.best, Isa::neon));
#endif
  EXPECT_FALSE(features.model.empty());
}

TEST(CpuFeatures, CoresAreWithinTheAffinityMask) {
  EXPECT_GE(cpu_features().cores, 1);
  EXPECT_LE(static_cast<unsigned>(cpu_features().cores),
            std::max(1u, std::thread::hardware_concurrency()));
}

class CgroupTest : public testing::Test {
 protected:
  void write(const std::string& path, const std::string& text) const {
    const std::filesystem::path file = root_.file(path);
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }

  TemporaryFolder root_;
};

TEST_F(CgroupTest, Version2TakesTheTightestParent) {
  write("cpu.max", "max 100000\n");
  write("box/cpu.max", "150000 100000\n");
  write("box/job/cpu.max", "400000 100000\n");
  const auto quota = cgroup_cpu_quota("0::/box/job\n", root_.path());
  ASSERT_TRUE(quota.has_value());
  EXPECT_DOUBLE_EQ(*quota, 1.5);
}

TEST_F(CgroupTest, Version1ReadsTheCpuHierarchy) {
  write("cpu,cpuacct/box/cpu.cfs_quota_us", "300000\n");
  write("cpu,cpuacct/box/cpu.cfs_period_us", "100000\n");
  write("cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  write("cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  const auto quota = cgroup_cpu_quota("5:memory:/x\n4:cpu,cpuacct:/box\n", root_.path());
  ASSERT_TRUE(quota.has_value());
  EXPECT_DOUBLE_EQ(*quota, 3.0);
}

TEST_F(CgroupTest, NoLimitOrNoFilesGiveNothing) {
  EXPECT_EQ(cgroup_cpu_quota("0::/box\n", root_.path()), std::nullopt);
  write("box/cpu.max", "max 100000\n");
  EXPECT_EQ(cgroup_cpu_quota("0::/box\n", root_.path()), std::nullopt);
  write("box/cpu.max", "rubbish");
  EXPECT_EQ(cgroup_cpu_quota("0::/box\n:\nno colon\n1:cpu:relative\n", root_.path()), std::nullopt);
}

}  // namespace
}  // namespace dunlin
