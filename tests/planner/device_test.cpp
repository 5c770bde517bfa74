// Names of slices, wires, and devices of one's own.
#include "planner/device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <utility>
#include <vector>

#include "support/temporary_folder.h"

namespace dunlin {
namespace {

using testing::HasSubstr;

constexpr double kGiB = 1024.0 * 1024 * 1024;

Slice slice(const char* name, bool split = false) {
  return parse_slice(name, split).value();
}

TEST(ParseSlice, CountsDevicesAsTheMakerCountsCores) {
  EXPECT_EQ(slice("v5e-16").devices, 16);
  EXPECT_EQ(slice("v5litepod-16").devices, 16);
  EXPECT_EQ(slice("v4-8").devices, 4);
  EXPECT_EQ(slice("V4-8").name(), "v4-8");
  EXPECT_EQ(slice("v5p-8").devices, 4);
  EXPECT_EQ(slice("v2-8").devices, 8);
  EXPECT_EQ(slice("h100-8").devices, 8);
  EXPECT_EQ(slice("v6e").devices, 1);
  EXPECT_EQ(slice("tpu7x-8").device.name, "v7x");
}

// A v4 chip is one device of 32 GB, or two of 16.
TEST(ParseSlice, SplitsTheCoresOfAChip) {
  const Slice chips = slice("v4-8");
  const Slice cores = slice("v4-8", true);
  EXPECT_EQ(cores.devices, 8);
  EXPECT_EQ(cores.name(), "v4-8");
  EXPECT_EQ(2 * cores.device.memory_bytes, chips.device.memory_bytes);
  EXPECT_EQ(2 * cores.device.bf16_flops, chips.device.bf16_flops);
  EXPECT_THAT(chips.device.description, HasSubstr("its two cores as one device"));
  EXPECT_THAT(cores.device.description, HasSubstr("one of a chip's two cores"));
  EXPECT_THAT(parse_slice("v5e-16", true).error().message, HasSubstr("--split-cores is for v4"));
}

TEST(ParseSlice, WrongNamesSayWhatThereIs) {
  const Error unknown = parse_slice("v9", false).error();
  EXPECT_EQ(unknown.kind, ErrorKind::usage);
  EXPECT_THAT(unknown.message, HasSubstr("known: v2, v3, v4, v5e"));
  EXPECT_THAT(parse_slice("v5e-17", false).error().message, HasSubstr("v5e-16"));
  EXPECT_THAT(parse_slice("v4-7", false).error().message, HasSubstr("no such slice"));
  EXPECT_THAT(parse_slice("v5e-99999999999999999999", false).error().message,
              HasSubstr("no such slice"));
}

TEST(Catalogue, IsCompleteAndPlausible) {
  for (const Device& device : device_catalogue()) {
    SCOPED_TRACE(device.name);
    EXPECT_GT(device.memory_bytes, 7 * kGiB);
    EXPECT_GT(device.memory_bytes_per_second, 3e11);
    EXPECT_GT(device.bf16_flops, 2e13);
    EXPECT_TRUE(device.eight_bit_ops == 0 || device.eight_bit_ops >= device.bf16_flops);
    EXPECT_GT(device.interconnect.link_bytes_per_second, 1e10);
    EXPECT_TRUE(std::ranges::is_sorted(device.slices));
    EXPECT_FALSE(device.efficiency.origin.empty());
    for (const int64_t devices : device.slices) {
      const Slice one{device, devices};
      EXPECT_EQ(parse_slice(one.name(), false).value().devices, devices);
    }
  }
}

// The peak is 2 operations a cycle of each of 128 * 128 cells: of one unit of a v2 core, two of v3, four
// of v5e and eight of v4 and v5p; of v6e sixteen times as many cells.
TEST(Catalogue, ClocksArePeaksOverCells) {
  const std::vector<std::pair<const char*, double>> units = {{"v2", 1},  {"v3", 2},  {"v4", 8},
                                                             {"v5e", 4}, {"v5p", 8}, {"v6e", 16}};
  for (const auto& [name, count] : units) {
    const Device device = slice(name).device;
    EXPECT_NEAR(device.bf16_flops / (count * 2 * 128 * 128), device.clock_hz,
                0.005 * device.clock_hz)
        << name;
  }
  // Half of a v4 chip has the same clock, and half of its units.
  EXPECT_EQ(slice("v4", true).device.clock_hz, slice("v4").device.clock_hz);
  for (const char* name : {"v7x", "a100", "h100", "h200"})
    EXPECT_EQ(slice(name).device.clock_hz, 0) << name;
}

// A plane of 4 x 4 without rings: two links. A cube of 4 x 4 x 4 is a torus: six.
TEST(Wires, BandwidthFollowsTheGrid) {
  const Interconnect v5e = slice("v5e").device.interconnect;
  EXPECT_DOUBLE_EQ(collective_bandwidth(v5e, 2), 45e9);
  EXPECT_DOUBLE_EQ(collective_bandwidth(v5e, 16), 2 * 45e9);
  EXPECT_DOUBLE_EQ(collective_bandwidth(v5e, 256), 4 * 45e9);
  EXPECT_EQ(collective_hops(v5e, 16), 6);
  EXPECT_EQ(collective_hops(v5e, 256), 16);
  EXPECT_EQ(collective_hops(v5e, 1), 0);
  EXPECT_LT(collective_bandwidth(v5e, 512), 45e9);  // beyond a pod: the network
  const Interconnect v4 = slice("v4").device.interconnect;
  EXPECT_DOUBLE_EQ(collective_bandwidth(v4, 4), 2 * 45e9);
  EXPECT_DOUBLE_EQ(collective_bandwidth(v4, 64), 6 * 45e9);
  const Interconnect h100 = slice("h100").device.interconnect;
  EXPECT_DOUBLE_EQ(collective_bandwidth(h100, 8), 450e9);
  EXPECT_DOUBLE_EQ(collective_bandwidth(h100, 16), 50e9);
}

class DeviceFile : public testing::Test {
 protected:
  Result<Device> read(const std::string& text) {
    std::ofstream(path_) << text;
    return read_device_file(path_);
  }
  std::string message(const std::string& text) {
    const auto result = read(text);
    EXPECT_FALSE(result.ok()) << text;
    return result.ok() ? "" : result.error().message;
  }

  TemporaryFolder folder_;
  const std::string path_ = folder_.file("device.json");
};

TEST_F(DeviceFile, HoldsADevice) {
  const Device device = read(R"({"name": "mine", "memory_bytes": 24e9,
    "memory_bytes_per_second": 1e12, "bf16_flops": 165e12, "slices": [2, 1],
    "interconnect": {"link_bytes_per_second": 32e9, "most_devices": 2},
    "efficiency": {"memory": 0.8}})")
                            .value();
  EXPECT_EQ(device.name, "mine");
  EXPECT_EQ(device.memory_bytes, 24'000'000'000);
  EXPECT_EQ(device.slices, (std::vector<int64_t>{1, 2}));
  EXPECT_DOUBLE_EQ(device.efficiency.memory, 0.8);
  EXPECT_DOUBLE_EQ(device.efficiency.compute, 1);
  EXPECT_DOUBLE_EQ(collective_bandwidth(device.interconnect, 2), 32e9);
}

TEST_F(DeviceFile, WrongFieldsAreNamed) {
  EXPECT_THAT(message("[]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(message("{"), HasSubstr("not a JSON object"));
  EXPECT_THAT(message("{}"), HasSubstr("memory_bytes is missing"));
  EXPECT_THAT(message(R"({"memory_bytes": "24G"})"), HasSubstr("memory_bytes is not a number"));
  EXPECT_THAT(message(R"({"memory_bytes": -1})"), HasSubstr("memory_bytes is -1"));
  const std::string valid =
      R"("memory_bytes": 1e9, "memory_bytes_per_second": 1e9, "bf16_flops": 1e9)";
  EXPECT_THAT(message("{" + valid + R"(, "flops": 3})"), HasSubstr("unknown key \"flops\""));
  EXPECT_THAT(message("{" + valid + R"(, "slices": []})"), HasSubstr("slices is empty"));
  EXPECT_THAT(message("{" + valid + R"(, "slices": [0]})"), HasSubstr("slices holds"));
  EXPECT_THAT(message("{" + valid + R"(, "interconnect": 3})"),
              HasSubstr("interconnect is not an object"));
  EXPECT_THAT(message("{" + valid + R"(, "interconnect": {"dimensions": 1.5}})"),
              HasSubstr("interconnect: dimensions is not a whole number"));
  EXPECT_THAT(message("{" + valid + R"(, "efficiency": {"memory": 2}})"),
              HasSubstr("efficiency: memory is 2"));
  EXPECT_EQ(read_device_file("/nowhere.json").ok(), false);
}

}  // namespace
}  // namespace dunlin
