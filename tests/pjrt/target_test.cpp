// Devices that need not be here, by name.
#include "backend/pjrt/target.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dunlin::pjrt {
namespace {

using testing::HasSubstr;

TEST(Target, NamesOfTpusAndGpus) {
  const auto single = find_target("v5e:1x1");
  ASSERT_TRUE(single.ok());
  EXPECT_EQ(single->plugin, "tpu");
  EXPECT_EQ(single->topology, "v5e:1x1");
  EXPECT_EQ(single->chips, 1);
  EXPECT_EQ(find_target("v4:2x2x1")->chips, 4);
  EXPECT_EQ(find_target("tpu7x:2x2x4")->chips, 16);
  const auto gpu = find_target("h200");
  ASSERT_TRUE(gpu.ok());
  EXPECT_EQ(gpu->plugin, "gpu");
  EXPECT_EQ(gpu->options[0].second, "1x1x1");
  EXPECT_THAT(gpu->options[1].second, HasSubstr("device_memory_size: 150754820096"));
  EXPECT_LT(gpu->memory_bytes, 150754820096);
  for (const char* name :
       {"", ":", "v5e", "v5e:", "v5e:1", "v5e:1x", "v5e:x1", "v5e:1x1x1x1", "v5e:-1x1",
        "v5e:99999999999999999999x1", "v:1x1", "V5E:1x1", "h300", "v5e:1x1 "}) {
    const auto target = find_target(name);
    ASSERT_FALSE(target.ok()) << name;
    EXPECT_EQ(target.error().kind, ErrorKind::usage);
  }
}

}  // namespace
}  // namespace dunlin::pjrt
